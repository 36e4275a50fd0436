"""This room holds what plugs the SDK into web frameworks; nothing here imports one before it is used."""
