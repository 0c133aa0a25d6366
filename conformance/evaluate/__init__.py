"""Networks on many photographs: decoded beside computing, counted, and taken up again after a kill."""
