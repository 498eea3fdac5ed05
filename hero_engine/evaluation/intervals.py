"""95% confidence intervals of a proportion and of the difference of two paired proportions."""

import math

Z_95 = 1.959964


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's interval of a proportion, in 0..1. n: at least 1."""
    share, z2 = successes / n, Z_95**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def paired_difference(only_first: int, only_second: int, pairs: int) -> tuple[float, float]:
    """Bonett and Price's interval of the difference of two paired proportions, in -1..1.

    only_first, only_second: pairs in which only that one succeeded. Source: Bonett, Price, Adjusted
    Wald confidence interval for a difference of binomial proportions based on paired data, 2012.
    """
    first, second = (only_first + 1) / (pairs + 2), (only_second + 1) / (pairs + 2)
    gap = first - second
    half = Z_95 * math.sqrt((first + second - gap**2) / (pairs + 2))
    return max(-1.0, gap - half), min(1.0, gap + half)
