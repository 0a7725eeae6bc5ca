"""Accuracy, or R² of a regression, beside PyTorch's at the same budget: same net, optimizer, epochs, folds and
standardization.

usage: accuracy.py TRAINHOST [--seeds N] [--data NAME …]

Iris, wine, breast cancer, digits and diabetes, a regression, come with scikit-learn; each is cut into five folds
(stratified but for the regression), and every fold is trained once a seed by both. Fashion-MNIST has its own test set.
Prints a table; the exit status is 1 if trainhost's mean lies more than one standard error of the difference below
PyTorch's in any row.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from sklearn import datasets
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import KFold, StratifiedKFold

SETS = ("iris", "wine", "breast_cancer", "digits", "diabetes", "fashion-mnist")
FASHION = "/usr/share/datasets/fashion-mnist/"
SMALL = {"hidden": [64, 32], "epochs": 60, "batch_size": 32, "learning_rate": 0.001, "dropout": 0.1}
LARGE = {"hidden": [256, 128, 100], "epochs": 3, "batch_size": 128, "learning_rate": 0.001,
         "dropout": 0.1}


def is_regression(values):
    return values.dtype == np.float32


def by_trainhost(trainhost, directory, spec, train, test, seed):
    """The score on test after training on train, through the command line and .npy files."""
    def save(name, array):
        np.save(f"{directory}/{name}.npy", array)
        return f"{directory}/{name}.npy"

    spec = dict(spec, seed=seed, standardize=True)
    values = "--labels"
    if is_regression(train[1]):
        spec["loss"] = "mean_squared_error"
        values = "--targets"
    with open(f"{directory}/spec.json", "w", encoding="utf-8") as file:
        json.dump(spec, file)
    model = f"{directory}/model.safetensors"
    environment = dict(os.environ, USE_TRAINING_HOST_SERVICE="false")
    subprocess.run([trainhost, "train", "--quiet", "--spec", f"{directory}/spec.json", "--data",
                    save("x", train[0]), values, save("y", train[1]), "--out", model],
                   env=environment, check=True)
    done = subprocess.run([trainhost, "evaluate", "--json", "--model", model, "--data",
                           save("tx", test[0]), values, save("ty", test[1])],
                          env=environment, check=True, stdout=subprocess.PIPE, text=True)
    # Of a regression, this is R².
    return json.loads(done.stdout.strip().splitlines()[-1])["accuracy"]


def by_torch(spec, train, test, seed):
    torch.manual_seed(seed)
    mean, std = train[0].mean(0), train[0].std(0)
    std[std == 0] = 1
    features = torch.from_numpy((train[0] - mean) / std)
    if is_regression(train[1]):
        values, outputs, loss = torch.from_numpy(train[1])[:, None], 1, torch.nn.MSELoss()
    else:
        values = torch.from_numpy(train[1]).long()
        outputs, loss = int(values.max()) + 1, torch.nn.CrossEntropyLoss()
    width, modules = features.shape[1], []
    for hidden in spec["hidden"]:
        modules += [torch.nn.Linear(width, hidden), torch.nn.ReLU(), torch.nn.Dropout(spec["dropout"])]
        width = hidden
    net = torch.nn.Sequential(*modules, torch.nn.Linear(width, outputs))
    optimizer = torch.optim.Adam(net.parameters(), lr=spec["learning_rate"])
    for _ in range(spec["epochs"]):
        for rows in torch.randperm(len(features)).split(spec["batch_size"]):
            optimizer.zero_grad()
            loss(net(features[rows]), values[rows]).backward()
            optimizer.step()
    net.eval()
    with torch.no_grad():
        predicted = net(torch.from_numpy((test[0] - mean) / std)).numpy()
    if is_regression(test[1]):
        return r2_score(test[1], predicted[:, 0])
    return accuracy_score(test[1], predicted.argmax(1))


def fashion():
    import gzip

    def idx(name):
        with gzip.open(FASHION + name, "rb") as file:
            head = file.read(4)
            shape = [int.from_bytes(file.read(4), "big") for _ in range(head[3])]
            return np.frombuffer(file.read(), np.uint8).reshape(shape)

    def part(name):
        images = idx(f"{name}-images-idx3-ubyte.gz")
        return (images.reshape(len(images), -1).astype(np.float32) / 255,
                idx(f"{name}-labels-idx1-ubyte.gz").astype(np.int32))

    return part("train"), part("t10k")


def folds(name):
    data = getattr(datasets, "load_" + name)()
    if name == "diabetes":
        values, cut = data.target.astype(np.float32), KFold(5, shuffle=True, random_state=0)
        values = (values - values.mean()) / values.std()  # R² does not change
    else:
        values, cut = data.target.astype(np.int32), StratifiedKFold(5, shuffle=True, random_state=0)
    features = data.data.astype(np.float32)
    for train, test in cut.split(features, values):
        yield (features[train], values[train]), (features[test], values[test])


def compare(trainhost, name, spec, parts, seeds):
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as directory:
        for train, test in parts:
            for seed in range(seeds):
                ours.append(by_trainhost(trainhost, directory, spec, train, test, seed))
                theirs.append(by_torch(spec, train, test, seed))
    # Of the difference of the two means.
    error = np.sqrt((np.var(ours, ddof=1) + np.var(theirs, ddof=1)) / len(ours))
    passed = np.mean(ours) >= np.mean(theirs) - error
    print(f"{name:14} {len(ours):4d}   {np.mean(ours):.4f}      {np.mean(theirs):.4f}   "
          f"± {error:.4f}   {'as good' if passed else 'WORSE'}", flush=True)
    return passed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("trainhost")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", nargs="+", default=SETS, choices=SETS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # faster for nets as small as these
    print(f"PyTorch {torch.__version__}; accuracy, of diabetes R², on rows not trained on\n")
    print("data           runs   trainhost   PyTorch   std error")
    passed = True
    for name in arguments.data:
        if name == "fashion-mnist":
            # One test set and no folds: the spread over seeds needs more of them.
            passed &= compare(arguments.trainhost, name, LARGE, [fashion()], 3 * arguments.seeds)
        else:
            passed &= compare(arguments.trainhost, name, SMALL, folds(name), arguments.seeds)
    return 0 if passed else 1


sys.exit(main())
