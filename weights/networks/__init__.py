"""What the networks are: operations, records, parameters, sizes, costs."""
