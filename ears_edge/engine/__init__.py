"""The streaming chunk engine: one session's logic, the window geometry, and the scheduler."""
