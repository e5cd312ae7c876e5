"""What `pachgw doctor` looks at: each module a part of the surroundings, each check a function to findings.

Nothing here makes, changes or commits anything, or waits longer than its own few seconds.
"""
