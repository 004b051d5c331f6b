"""The report: one HTML file with the numbers, the images and the reason of each score."""
