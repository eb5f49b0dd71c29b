"""Reports: agreement of score tables with human ratings, as a document of numbers and as a page."""
