pytest_plugins = ["noukai_sdk.testing.pytest_plugin"]
