"""The command `pachgw`, for those who look after a store. No Twisted here: it is to start at once."""
