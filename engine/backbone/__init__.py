"""The frozen base model: what ships in the package, and how it was pretrained."""
