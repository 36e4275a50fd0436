"""The command line: each command starts a room or asks one; how a run looks to a person is `story` and `screen`."""
