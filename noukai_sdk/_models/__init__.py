"""This room holds what goes over the wire, as Python types: requests, results, events, frames, checkpoints."""
