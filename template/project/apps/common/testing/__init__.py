"""What tests in a browser need: a Chromium, a server, and pages."""
