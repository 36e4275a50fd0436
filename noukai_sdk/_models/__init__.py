"""This room holds what goes over the wire, as Python types: requests, results, jobs, traces, events, frames, checkpoints."""
