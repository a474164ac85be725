"""`esrun tune`: a study, whose trials are settings and whose runs are those of a sweep."""
