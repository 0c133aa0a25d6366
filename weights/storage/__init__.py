"""Files as a whole: written completely or not at all, mapped when read, told by their first bytes."""
