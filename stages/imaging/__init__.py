"""From files to arrays: decoding, tables, splits, lungs and crops."""
