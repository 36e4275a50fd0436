"""What all tests share: the fixtures that users get, too, and patience with a busy machine."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["noukai_sdk.testing.pytest_plugin"]

# How fast examples are made says how busy the machine is, nothing about our code.
settings.register_profile("noukai", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("noukai")
