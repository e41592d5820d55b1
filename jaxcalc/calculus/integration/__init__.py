"""Definite integrals by adaptive quadrature in one variable and adaptive cubature in two to four."""
