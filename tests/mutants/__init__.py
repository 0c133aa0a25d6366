"""Known porting bugs, put into every framework on purpose: the suite must catch each at the tap where it sits."""
