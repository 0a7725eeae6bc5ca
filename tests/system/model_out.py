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


def normalized(values, norm):
    """nn.BatchNorm1d in evaluation mode, or nn.LayerNorm, which has no running statistics."""
    mean = norm.get("running_mean", values.mean(1, keepdims=True))
    variance = norm.get("running_var", values.var(1, keepdims=True))
    return (values - mean) / np.sqrt(variance + np.float32(1e-5)) * norm["weight"] + norm["bias"]


def layers_of(tensors):
    """A linear module of each layer, and what normalizes it; modules are in the file's order."""
    modules = {}
    for name, tensor in tensors.items():
        module, array = name.rsplit(".", 1)
        modules.setdefault(module, {})[array] = tensor
    layers = []
    for module in modules.values():
        if module["weight"].ndim == 2:
            layers.append((module, []))
        else:
            layers[-1][1].append(module)
    return layers


def logits(tensors, spec, features):
    """Layers with ReLU, the last one without; Dropout is the identity here."""
    *hidden, (output, _) = layers_of(tensors)
    for linear, norms in hidden:
        values = features @ linear["weight"].T + linear["bias"]
        for norm in norms:
            values = normalized(values, norm)
        values = np.maximum(values, 0)
        skips = spec["residual"] and values.shape == features.shape
        features = features + values if skips else values
    return features @ output["weight"].T + output["bias"]


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
    for flags in (["--hidden", "64,32"],
                  ["--hidden", "64,64", "--normalization", "layer"],
                  ["--hidden", "64,64", "--normalization", "batch", "--residual"]):
        check_net(trainhost, directory, socket, flags)
    return 0


def check_net(trainhost, directory, socket, flags):
    environment = dict(os.environ, USE_TRAINING_HOST_SERVICE="true",
                       TRAINING_HOST_SERVICE_URL="unix://" + socket)
    model = directory + "/model.safetensors"
    last_line([trainhost, "train", "--json", "--data", DATA + "train-images-idx3-ubyte.gz",
               "--labels", DATA + "train-labels-idx1-ubyte.gz", *flags, "--epochs",
               "2", "--batch-size", "128", "--dropout", "0.1", "--seed", "7", "--out", model],
              environment)
    result = last_line([trainhost, "evaluate", "--json", "--model", model, "--data",
                        DATA + "t10k-images-idx3-ubyte.gz", "--labels",
                        DATA + "t10k-labels-idx1-ubyte.gz"], environment)

    tensors, metadata = safetensors(model)
    spec = json.loads(metadata["spec"])
    features = idx("t10k-images-idx3-ubyte.gz").reshape(10000, 784).astype(np.float32) / 255
    labels = idx("t10k-labels-idx1-ubyte.gz")
    values = logits(tensors, spec, features)
    accuracy = float((values.argmax(1) == labels).mean())
    shifted = values - values.max(1, keepdims=True)
    loss = float((np.log(np.exp(shifted).sum(1)) - shifted[np.arange(10000), labels]).mean())

    # Two rows may change their class by the order of float32 sums; the loss is smooth.
    assert abs(accuracy - result["accuracy"]) <= 2e-4, (accuracy, result)
    assert abs(loss - result["loss"]) <= 1e-5, (loss, result)
    assert accuracy > 0.8, accuracy

    with open(directory + "/model.json", encoding="utf-8") as file:
        card = json.load(file)
    assert card["spec"] == spec and spec["seed"] == 7, card["spec"]
    assert len(card["history"]["epochs"]) == 2, card["history"]
    print(*flags, f"accuracy {accuracy:.4f}, loss {loss:.6f}: as trainhost says")


sys.exit(main(*sys.argv[1:]))
