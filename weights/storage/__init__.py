"""Files as a whole: written completely or not at all, read within limits, told by their first bytes."""
