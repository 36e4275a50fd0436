"""This room holds adapters for web frameworks. Import the one you need, such as `noukai_sdk.adapters.fastapi`."""
