"""From an output back to its inputs: are all digests still what they were?"""
