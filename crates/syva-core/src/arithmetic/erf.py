"""Fits the two polynomials of `Number::erf` and prints their coefficients, highest power first. Needs mpmath.

P: erf(x) = x + x · P(x²) for |x| ≤ 1.   Q: erf(x) = 1 − e^−Q(x) from 1 to the limit, from which on erf is 1.
"""
import mpmath

mpmath.mp.dps = 60


def fit(function, low, high, degree):
    """The polynomial through the function at the Chebyshev nodes."""
    count = degree + 1
    angles = [mpmath.pi * (2 * i + 1) / (2 * count) for i in range(count)]
    nodes = [mpmath.mpf(low + high) / 2 + mpmath.mpf(high - low) / 2 * mpmath.cos(angle) for angle in angles]
    powers = mpmath.matrix([[node**j for j in range(count)] for node in nodes])
    return reversed(list(mpmath.lu_solve(powers, mpmath.matrix([function(node) for node in nodes]))))


def near(u):
    return mpmath.erf(mpmath.sqrt(u)) / mpmath.sqrt(u) - 1


def rest(x):
    return -mpmath.log(mpmath.erfc(x))


for name, near_degree, rest_degree, limit in [("f32", 6, 8, 4), ("f64", 13, 20, 6)]:
    print(name, "P", *(mpmath.nstr(value, 17) for value in fit(near, 0, 1, near_degree)))
    print(name, "Q", *(mpmath.nstr(value, 17) for value in fit(rest, 1, limit, rest_degree)))
