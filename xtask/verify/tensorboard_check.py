"""Checks what the real TensorBoard reads from syva's event files.

usage: tensorboard_check.py LOGDIR

LOGDIR holds `example/everything` (the example of syva-tensorboard), `runs/run` (a run of syva, with its event files in
`tensorboard`) and `resumed/run` (a run that was resumed with other settings). TensorBoard is started for each of the
three, because it shows only one experiment of a folder. It listens on a free port of the loopback interface, and
gets the requests that its pages send. The same files are read with its Python EventAccumulator. The messages of
proto/*.proto are also compared with those of the installed TensorBoard.
"""

import importlib
import io
import json
import math
import re
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import numpy
import tensorboard
from google.protobuf import descriptor_pb2
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

checks = 0


def check(condition, what):
    global checks
    checks += 1
    if not condition:
        raise SystemExit(f"tensorboard_check: {what}")


def f32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


class Server:
    def __init__(self, logdir):
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", logdir, "--port", "0", "--host", "127.0.0.1"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if found := re.search(r"(http://\S+?:\d+)/", line):
                self.address = found[1]
                break
        else:
            raise SystemExit("tensorboard_check: TensorBoard did not start")

    def get(self, path, raw=False, **query):
        url = f"{self.address}/data/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            body = answer.read()
        return body if raw else json.loads(body)

    def post(self, path, body):
        request = urllib.request.Request(f"{self.address}/data/{path}", json.dumps(body).encode())
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def wait_for(self, path, ready):
        for _ in range(120):
            answer = self.get(path)
            if ready(answer):
                return answer
            time.sleep(0.5)
        raise SystemExit(f"tensorboard_check: TensorBoard shows too little at {path}: {answer}")


def check_everything(server):
    tags = server.wait_for("plugin/scalars/tags", lambda tags: "hparam/loss" in tags.get("everything", {}))
    check(set(tags["everything"]) == {"scalar/third", "scalar/low", "scalar/high", "scalar/strange", "hparam/loss"}, tags)
    check(tags["everything"]["scalar/high"]["displayName"] == "high", tags)
    for tag, value in [("third", lambda t: t), ("low", lambda t: t - 1), ("high", lambda t: t + 1)]:
        points = server.get("plugin/scalars/scalars", run="everything", tag=f"scalar/{tag}")
        check([(p[1], p[2]) for p in points] == [(step, f32(value(step / 3))) for step in range(20)], (tag, points))
    for series, sign in (("train", 1), ("val", -1)):
        points = server.get("plugin/scalars/scalars", run=f"everything/group_two_{series}", tag="group/two")
        check([(p[1], p[2]) for p in points] == [(step, f32(sign * step / 3)) for step in range(20)], points)

    text = server.get("plugin/text/text", run="everything", tag="notes/markdown")
    check("<strong>bold</strong>" in text[0]["text"] and "ääkköset" in text[0]["text"], text)

    rows = server.get("plugin/histograms/histograms", run="everything", tag="histogram")
    check([row[1] for row in rows] == [0, 5], rows)
    for _, step, buckets in rows:
        values = (numpy.arange(1000) % 100).astype(numpy.float32) / numpy.float32(100) + numpy.float32(step)
        counts, edges = numpy.histogram(values.astype(float), bins=30)
        check(numpy.allclose([b[0] for b in buckets], edges[:-1], atol=1e-12), "left edges of a histogram")
        check(numpy.allclose([b[1] for b in buckets], edges[1:], atol=1e-12), "right edges of a histogram")
        check([b[2] for b in buckets] == list(counts), "counts of a histogram")

    for tag, size in (("image/rgb", (6, 4)), ("image/gray", (5, 5))):
        images = server.get("plugin/images/images", run="everything", tag=tag, sample=0)
        check([image["step"] for image in images] == [0, 5], images)
        png = server.get(f"plugin/images/individualImage?{images[1]['query']}&", raw=True)
        picture = Image.open(io.BytesIO(png))
        check(picture.size == size, f"size of {tag}: {picture.size}")
        pixels = numpy.asarray(picture).reshape(-1)
        wanted = [i * 3 + 5 for i in range(72)] if tag == "image/rgb" else [i * 10 for i in range(25)]
        check(list(pixels) == wanted, f"pixels of {tag}")

    curves = server.get("plugin/pr_curves/pr_curves", run="everything", tag="pr")["everything"]
    check([curve["step"] for curve in curves] == [0, 5], curves)
    p, truth = numpy.arange(500) * 37 % 500 / 499, numpy.arange(500) % 3 != 0
    for i, threshold in enumerate(curves[0]["thresholds"]):
        yes = p >= threshold
        check(abs(threshold - i / 100) < 1e-6, "thresholds")
        # A probability that equals the threshold may be on either side of it, because the threshold is rounded.
        if min(abs(p - i / 100)) > 1e-9:
            check(curves[0]["true_positives"][i] == (yes & truth).sum(), f"true positives at {threshold}")
            check(curves[0]["false_negatives"][i] == (~yes & truth).sum(), f"false negatives at {threshold}")
            check(abs(curves[0]["recall"][i] - (yes & truth).sum() / truth.sum()) < 1e-6, f"recall at {threshold}")
            if yes.any():
                check(abs(curves[0]["precision"][i] - (yes & truth).sum() / yes.sum()) < 1e-6, f"precision at {threshold}")

    layout = server.get("plugin/custom_scalars/layout")
    charts = layout["category"][0]["chart"]
    check([chart["title"] for chart in charts] == ["thirds", "band"], layout)
    check(charts[0]["multiline"]["tag"] == ["scalar/.*"] and charts[1]["margin"]["series"][0]["lower"] == "scalar/low", layout)

    graph = server.get("plugin/graphs/graph", raw=True, run="everything").decode()
    check(all(name in graph for name in ('name: "x"', 'name: "fc1/weight"', 'name: "fc1/linear"')), graph)
    check("size: 128" in graph and 'input: "fc1/weight"' in graph, graph)

    experiment = server.post("plugin/hparams/experiment", {"experimentName": ""})
    infos = {info["name"]: info for info in experiment["hparamInfos"]}
    check(infos["lr"]["domainInterval"] == {"minValue": 0.001, "maxValue": 1}, experiment)
    check(sorted(infos["activation"]["domainDiscrete"]) == ["relu", "sigmoid"], experiment)
    columns = [{"hparam": name} for name in ("lr", "activation", "shuffle")]
    request = {"experimentName": "", "colParams": columns, "startIndex": 0, "sliceSize": 10,
               "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]}
    groups = server.post("plugin/hparams/session_groups", request)["sessionGroups"]
    ours = [group for group in groups if group["sessions"][0]["name"] == "everything"]
    check(len(ours) == 1, groups)
    hparams = ours[0]["hparams"]
    check((hparams["lr"], hparams["activation"], hparams["shuffle"]) == (0.25, "relu", True), ours)
    check(ours[0]["sessions"][0]["status"] == "STATUS_SUCCESS", ours)
    values = {metric["name"]["tag"]: metric["value"] for metric in ours[0]["metricValues"]}
    check(values["hparam/loss"] == 0.125, ours)


def check_run(server, folder):
    ends = lambda tags: "hparam/final_val_loss" in tags.get("run/tensorboard", {}) and len(tags) == 5
    server.wait_for("plugin/scalars/tags", ends)
    epochs = [json.loads(line) for line in (folder / "runs/run/metrics.jsonl").read_text().splitlines()]
    for group, kind in (("Loss", "loss"), ("Accuracy", "acc")):
        for series in ("train", "val"):
            run = f"run/tensorboard/{group}_train_vs_val_{series}"
            points = server.get("plugin/scalars/scalars", run=run, tag=f"{group}/train_vs_val")
            wanted = [(epoch["epoch"], f32(epoch[f"{series}_{kind}"])) for epoch in epochs]
            check([(p[1], p[2]) for p in points] == wanted, (run, points, wanted))
    run = "run/tensorboard"
    steps = [p[1] for p in server.get("plugin/scalars/scalars", run=run, tag="Loss/train_batch")]
    check(len(steps) > 5 and all(step % 50 == 0 for step in steps), steps)
    for tag in ("config/device", "config/hyperparameters", "worst_read/list"):
        check(server.get("plugin/text/text", run=run, tag=tag), tag)
    tags = server.get("plugin/histograms/tags")[run]
    layers = [f"{kind}/fc{layer}.{part}" for kind in ("weights", "gradients") for layer in (1, 2, 3) for part in ("weight", "bias")]
    check(set(tags) == set(layers), tags)
    for tag in layers:
        rows = server.get("plugin/histograms/histograms", run=run, tag=tag)
        check(all(sum(bucket[2] for bucket in row[2]) == sum(bucket[2] for bucket in rows[0][2]) > 0 for row in rows), tag)
    for tag in ("weights/fc1", "worst_read/images"):
        images = server.get("plugin/images/images", run=run, tag=tag, sample=0)
        Image.open(io.BytesIO(server.get(f"plugin/images/individualImage?{images[0]['query']}&", raw=True))).load()
    check(set(server.get("plugin/pr_curves/tags")[run]) == {f"precision_recall/class_{k}" for k in range(10)}, "PR curves")
    graph = server.get("plugin/graphs/graph", raw=True, run=run).decode()
    check('name: "fc3/linear"' in graph and 'name: "loss"' in graph, graph)
    for tag, value in (("train_acc", "train_acc"), ("val_acc", "val_acc"), ("train_loss", "train_loss"), ("val_loss", "val_loss")):
        points = server.get("plugin/scalars/scalars", run=run, tag=f"hparam/final_{tag}")
        check([p[2] for p in points] == [f32(epochs[-1][value])], points)


def check_resumed(server, folder):
    """A run of 2 epochs that was resumed to 4, with other weights kept. HPARAMS shows the final settings."""
    run = "run/tensorboard"
    server.wait_for("plugin/scalars/tags", lambda tags: "hparam/epochs" in tags.get(run, {}))
    points = server.get("plugin/scalars/scalars", run=run, tag="hparam/epochs")
    check([p[2] for p in points] == [2, 4], points)
    request = {"experimentName": "", "startIndex": 0, "sliceSize": 10,
               "colParams": [{"hparam": "keep"}, {"metric": {"tag": "hparam/epochs", "group": ""}}],
               "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]}
    groups = server.post("plugin/hparams/session_groups", request)["sessionGroups"]
    check(len(groups) == 1, groups)
    wanted = {"keep": "best", "init": "he-normal", "head": "log-softmax", "hidden": "16", "learning_rate": 0.1,
              "seed": 3, "exact": False, "precision": "f32", "optimizer": "sgd", "device": "cpu", "parameters": 12730}
    found = {name: groups[0]["hparams"].get(name) for name in wanted}
    check(found == wanted, found)
    check("epochs" not in groups[0]["hparams"], groups)
    values = {metric["name"]["tag"]: metric["value"] for metric in groups[0]["metricValues"]}
    check(values["hparam/epochs"] == 4, values)
    texts = server.get("plugin/text/text", run=run, tag="config/hyperparameters")
    check(["<td>last</td>" in text["text"] for text in texts] == [True, False], texts)


def check_accumulator(folder):
    events = EventAccumulator(str(folder / "example/everything"), size_guidance={"tensors": 0, "scalars": 0, "images": 0})
    events.Reload()
    thirds = [(event.step, event.value) for event in events.Scalars("scalar/third")]
    check(thirds == [(step, f32(step / 3)) for step in range(20)], thirds)
    strange = [event.value for event in events.Scalars("scalar/strange")]
    check(math.isnan(strange[7]) and all(math.isinf(value) for value in strange[:7]), strange)
    text = tensor_util.make_ndarray(events.Tensors("notes/markdown")[0].tensor_proto)
    check(text[0].decode() == "**bold** and `code`, ääkköset too", text)
    check(events.Graph().node[2].input == ["x", "fc1/weight"], events.Graph())
    check(events.SummaryMetadata("_hparams_/session_start_info").plugin_data.plugin_name == "hparams", "hparams")


# The modules of TensorBoard that have the messages of syva's .proto files.
MODULES = """compat.proto.event compat.proto.summary compat.proto.histogram compat.proto.tensor compat.proto.tensor_shape
compat.proto.types compat.proto.graph compat.proto.node_def compat.proto.attr_value compat.proto.versions
plugins.pr_curve.plugin_data plugins.custom_scalar.layout plugins.hparams.plugin_data plugins.hparams.api""".split()


def check_messages(ours):
    theirs = {}

    def gather(message):
        theirs[message.full_name] = message
        for nested in message.nested_types:
            gather(nested)
        for enum in message.enum_types:
            theirs[enum.full_name] = enum

    for module in MODULES:
        descriptor = importlib.import_module(f"tensorboard.{module}_pb2").DESCRIPTOR
        for message in descriptor.message_types_by_name.values():
            gather(message)
        for enum in descriptor.enum_types_by_name.values():
            theirs[enum.full_name] = enum

    def compare_enum(name, enum):
        numbers = {value.name: value.number for value in theirs[name].values}
        for value in enum.value:
            check(numbers.get(value.name) == value.number, f"{name}.{value.name} is not {value.number}")

    def compare(name, message):
        check(name in theirs, f"TensorBoard has no message {name}")
        fields = {field.name: field for field in theirs[name].fields}
        for field in message.field:
            their = fields.get(field.name)
            same = their and (their.number, their.type, their.is_repeated) == (field.number, field.type, field.label == 3)
            check(same, f"{name}.{field.name} is not what TensorBoard has")
        for nested in message.nested_type:
            compare(f"{name}.{nested.name}", nested)
        for enum in message.enum_type:
            compare_enum(f"{name}.{enum.name}", enum)

    for file in descriptor_pb2.FileDescriptorSet.FromString(Path(ours).read_bytes()).file:
        if file.package.startswith("tensorboard"):
            for message in file.message_type:
                compare(f"{file.package}.{message.name}", message)
            for enum in file.enum_type:
                compare_enum(f"{file.package}.{enum.name}", enum)


def main():
    folder = Path(sys.argv[1])
    check_messages(folder / "messages.bin")
    check_accumulator(folder)
    pages = {"example": check_everything, "runs": lambda server: check_run(server, folder),
             "resumed": lambda server: check_resumed(server, folder)}
    for logdir, check_pages in pages.items():
        server = Server(str(folder / logdir))
        try:
            check_pages(server)
        finally:
            server.process.terminate()
            server.process.wait()
    print(f"{checks} checks against TensorBoard {tensorboard.__version__}")


main()
