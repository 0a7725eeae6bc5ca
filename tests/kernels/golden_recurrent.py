#!/usr/bin/python3
"""Write golden_recurrent.txt: what PyTorch, in float64, makes of small nets with an embedding and
recurrent layers after 1 and after 100 steps, with every optimizer.

Needs PyTorch. Run as `./golden_recurrent.py > golden_recurrent.txt`; the tests read the file as they
do golden.txt, so they need no Python.
"""

import torch
from torch.nn import functional

import golden

GROUPS, EMBEDDING, WIDTH, WINDOW = 3, 3, 6, 4
PARAMETERS = 814  # of the largest net

SIZES = f"window={WINDOW} recurrent_width={WIDTH}"
# Fields of a specification, and what the net is made of.
NETS = {
    f"embedding={EMBEDDING}": (True, None, 0),
    f"recurrent=lstm {SIZES}": (False, torch.nn.LSTM, 1),
    f"recurrent=gru {SIZES}": (False, torch.nn.GRU, 1),
    f"recurrent=lstm {SIZES} recurrent_layers=2 embedding={EMBEDDING}": (True, torch.nn.LSTM, 2),
    f"recurrent=gru {SIZES} recurrent_layers=2 embedding={EMBEDDING}": (True, torch.nn.GRU, 2),
}


class Net(torch.nn.Module):
    """Its parameters are in the order of the model's file."""

    def __init__(self, embeds, recurrent, layers):
        super().__init__()
        inputs = golden.WIDTH
        if embeds:
            self.embedding = torch.nn.Embedding(GROUPS, EMBEDDING)
            inputs += EMBEDDING
        if recurrent:
            self.recurrent = recurrent(inputs, WIDTH, num_layers=layers, batch_first=True)
            inputs = WIDTH
        widths = (inputs, *golden.HIDDEN, golden.CLASSES)
        modules = []
        for before, after in zip(widths, widths[1:]):
            modules += [torch.nn.Linear(before, after), torch.nn.Tanh()]
        self.stack = torch.nn.Sequential(*modules[:-1])

    def forward(self, rows):
        """Of each row its window and, as a last column, the group."""
        x = rows[:, :, :-1]
        if hasattr(self, "embedding"):
            group = rows[:, -1, -1].long()
            x = torch.cat([x, self.embedding(group)[:, None].expand(-1, x.shape[1], -1)], -1)
        x = self.recurrent(x)[0] if hasattr(self, "recurrent") else x
        return self.stack(x[:, -1])


def windows(features, groups):
    """Rows of other groups, and those before the first, are zeros in a window."""
    made = torch.zeros(golden.ROWS, WINDOW, golden.WIDTH + 1).double()
    made[:, :, -1] = groups[:, None]
    for row in range(golden.ROWS):
        for age in range(WINDOW):
            if row < age or groups[row - age] != groups[row]:
                break
            made[row, WINDOW - 1 - age, :-1] = features[row - age]
    return made


def main():
    torch.manual_seed(1)
    # Rounded through float32, so that the float build starts from the same numbers.
    features = torch.randn(golden.ROWS, golden.WIDTH).float().double()
    labels = torch.randint(golden.CLASSES, (golden.ROWS,))
    start = (torch.rand(PARAMETERS) - 0.5).float().double()
    golden.show("features", features.reshape(-1).tolist())
    print("labels", *labels.tolist())
    golden.show("start", start.tolist())
    rows = windows(features, torch.arange(golden.ROWS) // 6 % GROUPS)
    for net, made_of in NETS.items():
        print("loss=cross_entropy", net)
        for fields in golden.OPTIMIZERS:
            print(fields)
            model = Net(*made_of).double()
            golden.load(model, start)
            numbers = golden.train(model, fields, functional.cross_entropy, (rows, labels),
                                   golden.STEPS)
            golden.show("activation=tanh", numbers)


main()
