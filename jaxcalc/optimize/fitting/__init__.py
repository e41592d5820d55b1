"""The parts of curve fitting: data, covariances, intervals and what a fit returns."""
