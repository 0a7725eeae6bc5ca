"""Python's side of loading.c: prints how it loads, then, for each line it reads, loads the file as
float32 and prints the gigabytes of it a second.

Usage: loading_peer.py CASE FILE
"""
import os
import sys

import numpy
import pandas
from peer import serve


def pixels_in_two(path):
    with open(path, "rb") as file:
        file.read(12)
        return numpy.frombuffer(file.read(), numpy.uint8).astype(numpy.float32) / 255


def pixels_in_one(path):
    return numpy.divide(numpy.fromfile(path, numpy.uint8, offset=12), numpy.float32(255),
                        dtype=numpy.float32)


def table(path):
    return pandas.read_csv(path, header=None).to_numpy(numpy.float32)


def table_of_float32(path):
    return pandas.read_csv(path, header=None, dtype=numpy.float32).to_numpy()


def text(path):
    return numpy.loadtxt(path, numpy.float32, delimiter=",")


WAYS = {
    "load-npy": {"numpy.load": numpy.load},
    "load-csv": {"pandas.read_csv": table, "pandas.read_csv(dtype)": table_of_float32,
                 "numpy.loadtxt": text},
    "load-idx": {"numpy, astype and /": pixels_in_two, "numpy.divide": pixels_in_one},
}
WAYS["load-csv-double"] = WAYS["load-csv"]


def main():
    case, path = sys.argv[1:]
    ways = {name: lambda way=way: way(path) for name, way in WAYS[case].items()}
    serve(f"NumPy {numpy.__version__}, pandas {pandas.__version__}", ways,
          os.path.getsize(path) / 1e9)


main()
