"""What users call: one problem or many, minimised by any method of the registry."""
