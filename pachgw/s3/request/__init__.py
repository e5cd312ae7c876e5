"""What a request asks for, as values: target, action, headers, conditions, ranges, forms. Pure."""
