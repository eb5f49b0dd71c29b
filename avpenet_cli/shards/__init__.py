"""Work divided among computers: which recording belongs to which part, and where the parts lie."""
