"""The window: the Streamlit dashboard, which knows the API and nothing behind it."""
