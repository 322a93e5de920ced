"""The science: devices, adapters, radio, methods. Knows no database, no server and no screen."""
