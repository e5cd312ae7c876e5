"""How the writes of several requests come together; what a write means is the actions' matter."""
