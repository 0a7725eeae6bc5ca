"""A model file, read with nothing but NumPy, must reproduce the accuracy that trainhost reports.

usage: model_out.py TRAINHOST TRAINHOSTD

Trains on Fashion-MNIST through a daemon of its own, then applies the weights by hand.
"""

import gzip
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

DATA = "/usr/share/datasets/fashion-mnist/"
SKIPPED = 77


def idx(name):
    with gzip.open(DATA + name, "rb") as file:
        head = file.read(4)
        shape = [int.from_bytes(file.read(4), "big") for _ in range(head[3])]
        return np.frombuffer(file.read(), np.uint8).reshape(shape)


def safetensors(path):
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        data = file.read()
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        assert entry["dtype"] == "F32", entry
        begin, end = entry["data_offsets"]
        tensors[name] = np.frombuffer(data[begin:end], np.float32).reshape(entry["shape"])
    return tensors, metadata


def logits(tensors, features):
    """nn.Sequential of Linear and ReLU; Dropout is the identity here."""
    names = sorted((n for n in tensors if n.endswith(".weight")), key=lambda n: int(n.split(".")[0]))
    for i, name in enumerate(names):
        weight, bias = tensors[name], tensors[name.replace("weight", "bias")]
        features = features @ weight.T + bias
        if i + 1 < len(names):
            features = np.maximum(features, 0)
    return features


def last_line(command, environment):
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main(trainhost, trainhostd):
    if not os.path.exists(DATA):
        print("SKIPPED: no Fashion-MNIST at", DATA)
        return SKIPPED
    with tempfile.TemporaryDirectory() as directory:
        socket = directory + "/trainhost.sock"
        daemon = subprocess.Popen(
            [trainhostd, "--device", "cpu", "--socket", socket, "--state-dir", directory + "/state"])
        try:
            while not os.path.exists(socket):
                assert daemon.poll() is None, "trainhostd ended at its start"
                time.sleep(0.01)
            return check(trainhost, directory, socket)
        finally:
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(20) == 0, "trainhostd did not stop cleanly"


def check(trainhost, directory, socket):
    environment = dict(os.environ, USE_TRAINING_HOST_SERVICE="true",
                       TRAINING_HOST_SERVICE_URL="unix://" + socket)
    model = directory + "/model.safetensors"
    last_line([trainhost, "train", "--json", "--data", DATA + "train-images-idx3-ubyte.gz",
               "--labels", DATA + "train-labels-idx1-ubyte.gz", "--hidden", "64,32", "--epochs",
               "2", "--batch-size", "128", "--dropout", "0.1", "--seed", "7", "--out", model],
              environment)
    result = last_line([trainhost, "evaluate", "--json", "--model", model, "--data",
                        DATA + "t10k-images-idx3-ubyte.gz", "--labels",
                        DATA + "t10k-labels-idx1-ubyte.gz"], environment)

    tensors, _ = safetensors(model)
    features = idx("t10k-images-idx3-ubyte.gz").reshape(10000, 784).astype(np.float32) / 255
    labels = idx("t10k-labels-idx1-ubyte.gz")
    values = logits(tensors, features)
    accuracy = float((values.argmax(1) == labels).mean())
    shifted = values - values.max(1, keepdims=True)
    loss = float((np.log(np.exp(shifted).sum(1)) - shifted[np.arange(10000), labels]).mean())

    # Two rows may change their class by the order of float32 sums; the loss is smooth.
    assert abs(accuracy - result["accuracy"]) <= 2e-4, (accuracy, result)
    assert abs(loss - result["loss"]) <= 1e-5, (loss, result)
    assert accuracy > 0.8, accuracy

    with open(directory + "/model.json", encoding="utf-8") as file:
        card = json.load(file)
    assert card["spec"]["hidden"] == [64, 32] and card["spec"]["seed"] == 7, card["spec"]
    assert len(card["history"]["epochs"]) == 2, card["history"]
    print(f"accuracy {accuracy:.4f}, loss {loss:.6f}: as trainhost says")
    return 0


sys.exit(main(*sys.argv[1:]))
