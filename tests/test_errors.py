"""Every kind of bad input, and the one or two lines that it is answered with."""

import os
import pickle
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import SHORT, Run, run_command
from hydra.errors import InstantiationException
from PIL import Image
from transformers import BertConfig, BertModel

from src.config.errors import describe_error
from src.train import main

ROOT = Path(__file__).parent.parent

REFERENCE = (
    "${...} stands for another value of the config: rename a file or folder that has it in its name"
)
NO_KEY = f"Interpolation key 'b' not found; {REFERENCE}"
TABLE = ["dataset=table", "dataset.images=pictures"]

# Command, arguments, and what the message must hold. {ckpt} is a good checkpoint, {clip} a good
# model, {mute} one without a tokenizer and {bert} one of another kind.
BAD_INPUTS: dict[str, tuple[str, list[str], str]] = {
    "misspelt key": ("train", ["loss.alhpa=0.9"], "did you mean loss.alpha?"),
    "missing data": (
        "train",
        ["+experiment=celeba_subspace", "data_dir=nowhere"],
        "no list_attr_celeba.txt in nowhere/celeba",
    ),
    "missing data has a stand-in": (
        "train",
        ["dataset=celeba", "data_dir=nowhere"],
        "dataset=faces",
    ),
    "softmax of another size": (
        "train",
        ["readout=softmax", "loss=cross_entropy"],
        "takes 8 logits on this data, not 32; set encoder.embedding_dim=null",
    ),
    "sigmoid of another size": (
        "train",
        ["readout=sigmoid", "loss=bce", "module.label_coding=literals"],
        "takes 5 logits on this data, not 32; set encoder.embedding_dim=null",
    ),
    "radius zero": ("train", ["encoder.radius=0"], "radius must be positive"),
    "batch normalisation of single images": (
        "train",
        ["encoder.batch_norm=true", "loader.batch_size=1", "debug=fast", "logger=none"],
        "set loader.batch_size, or encoder.batch_norm=false",
    ),
    "training without a validation": (
        "train",
        ["debug=fast", "trainer.limit_train_batches=null", "test=false", "logger=none"],
        "training ended before its first validation",
    ),
    "misspelt trainer key": ("train", ["trainer.max_epoch=3"], "did you mean trainer.max_epochs?"),
    "unknown root key": ("train", ["frobnicate=3"], "there is no key frobnicate; known: "),
    "added key of no class": (
        "train",
        ["loss=nuclear", "+loss.gamma=1"],
        "NuclearNormLoss takes only alpha, beta",
    ),
    "alpha too large": ("train", ["loss.alpha=1"], "alpha must be a number between 0 and 1"),
    "alpha negative": ("train", ["loss.alpha=-0.1"], "alpha must be a number between 0 and 1"),
    "alpha not a number": ("train", ["loss.alpha=high"], "loss.alpha must be a number, not 'high'"),
    "alpha left empty": ("train", ["loss.alpha="], "loss.alpha must be a number"),
    "beta zero": ("train", ["loss.beta=0"], "beta must be a number above 0"),
    "embedding too small": (
        "train",
        ["method=nuclear", "encoder.embedding_dim=7"],
        "minterms as labels span 8 directions; set encoder.embedding_dim=8 or more",
    ),
    "embedding too small for literals": (
        "train",
        ["method=nuclear", "encoder.embedding_dim=4", "module.label_coding=literals"],
        "set encoder.embedding_dim=5 or more",
    ),
    "embedding left to subspaces": (
        "train",
        ["encoder.embedding_dim=null"],
        "must be a whole number",
    ),
    "embedding of no size": ("train", ["encoder.embedding_dim=0"], "must be at least 1"),
    "embedding a word": ("train", ["encoder.embedding_dim=big"], "must be a whole number"),
    "unknown data set": ("train", ["dataset=digit"], "there is no dataset/digit; choose from"),
    "unknown trainer": ("train", ["trainer=cpuu"], "choose from cpu, ddp, ddp_cpu, gpu"),
    "unknown experiment": (
        "train",
        ["experiment=nope"],
        "there is no experiment/nope; choose from",
    ),
    "option of other programs": (
        "train",
        ["--max_epochs", "3"],
        "did you mean trainer.max_epochs=3?",
    ),
    "unknown label coding": (
        "train",
        ["method=nuclear", "module.label_coding=classes"],
        "goes with module.label_coding=minterms or literals or complements, not classes",
    ),
    "unknown score": (
        "train",
        ["method=nuclear", "module.score=max"],
        "is one of sum, projector, calibrated, probability, not 'max'",
    ),
    "no query literals": ("train", ["module.max_query_literals=0"], "must be at least 1"),
    "an encoder that is none": (
        "train",
        ["encoder._target_=torch.nn.Linear"],
        "encoder._target_ must name an Encoder, not torch.nn.Linear",
    ),
    "a function for an encoder": (
        "train",
        ["encoder._target_=torch.eye"],
        "encoder._target_ must name an Encoder, not torch.eye",
    ),
    "more threads than cores": ("train", ["trainer.threads=1000"], "threads must be from 1 to "),
    "no threads": ("train", ["trainer.threads=0"], "the cores here, not 0"),
    "queries too deep": ("train", ["module.max_query_depth=1000"], "must be at most 8, not 1000"),
    "endless queries": (
        "train",
        ["module.queries_per_depth=9999999"],
        "queries_per_depth must be from 0 to 1,000, not 9999999",
    ),
    "negative learning rate": ("train", ["optimizer.lr=-1"], "Invalid learning rate: -1"),
    "learning rate a word": ("train", ["optimizer.lr=fast"], "optimizer.lr must be a number"),
    "empty batches": ("train", ["loader.batch_size=0"], "batch_size must be at least 1"),
    "batch larger than data": (
        "train",
        ["loader.batch_size=5000"],
        "larger than the training set of 1257 images: set loader.batch_size=628",
    ),
    "too many minterms a batch": (
        "train",
        ["loader.minterms_per_batch=9"],
        "minterms_per_batch must be between 1 and 8",
    ),
    "uneven minterms": ("train", ["loader.minterms_per_batch=5"], "not a multiple of"),
    "seed not a number": ("train", ["seed=abc"], "seed must be a whole number"),
    "seed negative": ("train", ["seed=-1"], "seed must be a whole number"),
    "epochs negative": ("train", ["trainer.max_epochs=-5"], "non-negative integer"),
    "unknown precision": ("train", ["trainer.precision=13"], "trainer.precision must be"),
    "no such accelerator": ("train", ["trainer.accelerator=tpuu"], "invalid accelerator name"),
    "unwritable output": ("train", ["output_dir=/proc/nowhere"], "/proc/nowhere"),
    "override without value": ("train", ["loss.alpha"], "missing EQUAL"),
    "unreadable override": ("train", ["loss.alpha=["], "["),
    "resume from nowhere": ("train", ["ckpt_path=nowhere.ckpt"], "no checkpoint at nowhere.ckpt"),
    "resume from garbage": ("train", ["ckpt_path=garbage.ckpt"], "cannot be read"),
    "resume from foreign": ("train", ["ckpt_path=foreign.ckpt"], "it holds no config"),
    "resume a finished run": (
        "train",
        ["method=nuclear", "ckpt_path={ckpt}", SHORT[0]],
        "of a finished run",
    ),
    "resume with other settings": (
        "train",
        ["method=nuclear", "ckpt_path={ckpt}", "loss.alpha=0.9", "seed=1", SHORT[0]],
        "loss.alpha=0.99 (not 0.9), seed=13 (not 1)",
    ),
    "loss of another readout": (
        "train",
        ["loss=cross_entropy"],
        "goes with readout=softmax",
    ),
    "readout of a head that is not there": (
        "train",
        ["method=nuclear", "readout=head"],
        "NuclearNormLoss has no head: set readout=subspaces",
    ),
    "readout of another loss": (
        "train",
        ["method=nuclear", "readout=sigmoid", "module.label_coding=literals"],
        "readout=sigmoid goes with BCEWithLogitsLoss, not NuclearNormLoss",
    ),
    "captions for another loss": (
        "train",
        ["method=nuclear", "module.label_coding=captions"],
        "goes with module.label_coding=minterms or literals or complements, not captions",
    ),
    "texts for another loss": (
        "train",
        ["method=nuclear", "readout=text"],
        "readout=text goes with ContrastiveLoss, not NuclearNormLoss",
    ),
    "loss of views with labels": (
        "train",
        ["loss=simclr"],
        "SimCLRLoss is a loss over related views: set module=two_views",
    ),
    "loss of labels with views": (
        "train",
        ["method=nuclear", "module=two_views"],
        "NuclearNormLoss is a loss over labels: set module=subspace",
    ),
    "unknown labels of a loss that groups by them": (
        "train",
        ["method=supcon", "loader.masked=0.3"],
        "SupConLoss needs labels that are known: set module.completion=absent to read them as",
    ),
    "samples related to themselves": (
        "train",
        ["module=two_views", "loss=simclr", "module.relation=itself"],
        "relation must have a zero diagonal",
    ),
    "projection for principal components": (
        "train",
        ["module=two_views", "loss=pca", "module.projection=[16]"],
        "set module.projection=[]",
    ),
    "projection of one number": (
        "train",
        ["module=two_views", "loss=simclr", "module.projection=16"],
        "module.projection must be a list, each item a whole number, not 16",
    ),
    "projection of words": (
        "train",
        ["module=two_views", "loss=simclr", "module.projection=[16,wide]"],
        "module.projection must be a list",
    ),
    "projection to nothing": (
        "train",
        ["module=two_views", "loss=simclr", "module.projection=[16,0]"],
        "widths of the projection must be at least 1",
    ),
    "unknown relation": (
        "train",
        ["module=two_views", "loss=simclr", "module.relation=views"],
        "module.relation must be one of augmentation, labels, both, itself or null",
    ),
    "views of no area": (
        "train",
        ["module=two_views", "loss=simclr", "module.augmentation.min_area=0"],
        "min_area must be above 0",
    ),
    "probability above one": (
        "train",
        ["module=two_views", "loss=simclr", "module.augmentation.flip=2"],
        "flip must be between 0 and 1",
    ),
    "no neighbors": (
        "train",
        ["callbacks=probe", "callbacks.probe.neighbors=0"],
        "neighbors must be at least 1",
    ),
    "more neighbors than images": (
        "train",
        ["callbacks=probe", "callbacks.probe.neighbors=5000", "trainer.max_epochs=0"],
        "neighbors must be between 1 and 1257",
    ),
    "evaluate nothing": ("evaluate", [], "ckpt_path is missing: add ckpt_path=..."),
    "evaluate a folder": ("evaluate", ["ckpt_path=."], "no checkpoint at ."),
    "evaluate truncated": ("evaluate", ["ckpt_path=truncated.ckpt"], "cannot be read"),
    "evaluate pickled code": ("evaluate", ["ckpt_path=pickled.ckpt"], "cannot be read"),
    "evaluate hostile config": ("evaluate", ["ckpt_path=hostile.ckpt"], "which is refused"),
    "evaluate disguised config": ("evaluate", ["ckpt_path=disguised.ckpt"], "which is refused"),
    "evaluate other weights": ("evaluate", ["ckpt_path=mixed.ckpt"], "do not fit its config"),
    "query missing": ("retrieve", ["ckpt_path={ckpt}"], "give either query="),
    "queries in no text": (
        "retrieve",
        ["ckpt_path={ckpt}", "queries=utf16.txt"],
        "utf16.txt, line 1: no text in UTF-8",
    ),
    "queries in an empty file": (
        "retrieve",
        ["ckpt_path={ckpt}", "queries=empty.ckpt"],
        "empty.ckpt is empty",
    ),
    "query of a file": (
        "retrieve",
        ["ckpt_path={ckpt}", "queries=queries.txt"],
        "queries.txt, line 3: syntax error in '1' at position 0: '1' is not part of the syntax",
    ),
    "queries of which one is cut off": (
        "retrieve",
        ["ckpt_path={ckpt}", "queries=cut.txt"],
        "cut.txt, line 3: ",
    ),
    "queries of which one is unsatisfiable": (
        "retrieve",
        ["ckpt_path={ckpt}", "queries=never.txt"],
        "never.txt, line 2: no minterm that the model knows satisfies 'even & ~even'",
    ),
    "queries that are comments": (
        "retrieve",
        ["ckpt_path={ckpt}", "queries=comments.txt"],
        "comments.txt holds comments alone",
    ),
    "queries from nowhere": ("retrieve", ["ckpt_path={ckpt}", "queries=no.txt"], "no.txt"),
    "gallery nowhere": (
        "retrieve",
        ["ckpt_path={ckpt}", "query=even", "gallery=nowhere"],
        "there is no folder nowhere",
    ),
    "retrieve on no device": (
        "retrieve",
        ["ckpt_path={ckpt}", "query=even", "device=tpu"],
        "device must be cpu or cuda",
    ),
    "query empty": ("retrieve", ["ckpt_path={ckpt}", "query="], "it is empty: name a literal"),
    "query of spaces": (
        "retrieve",
        ["ckpt_path={ckpt}", "query=  "],
        "it is empty: name a literal",
    ),
    "query of unknown literal": (
        "retrieve",
        ["ckpt_path={ckpt}", "query=even & primes"],
        "unknown literal 'primes' (did you mean prime?); known literals: even, prime",
    ),
    "query of a number": (
        "retrieve",
        ["ckpt_path={ckpt}", "query=1"],
        "'1' is not part of the syntax: write TRUE",
    ),
    "query cut off": ("retrieve", ["ckpt_path={ckpt}", "query=even &"], "at position 6"),
    "query unbalanced": ("retrieve", ["ckpt_path={ckpt}", "query=(even"], "never closed"),
    "query of other syntax": (
        "retrieve",
        ["ckpt_path={ckpt}", "query=even => prime"],
        "position 5",
    ),
    "query unsatisfiable": (
        "retrieve",
        ["ckpt_path={ckpt}", "query=even & ~even"],
        "no minterm that the model knows satisfies",
    ),
    "nothing asked for": ("retrieve", ["ckpt_path={ckpt}", "query=even", "top_k=0"], "top_k must"),
    "an index of no kind": (
        "retrieve",
        ["ckpt_path={ckpt}", "query=even", "index=hnsw"],
        "index must be exact or faiss, not 'hnsw'",
    ),
    "an index of too few candidates": (
        "retrieve",
        ["ckpt_path={ckpt}", "query=even", "index=faiss", "candidates=9"],
        "the 10 best need as many candidates: set candidates=10 or more",
    ),
    "an index of a part of an image": (
        "explore",
        ["ckpt_path={ckpt}", "index=faiss", "candidates=99.5", "port=0"],
        "candidates must be a whole number, not 99.5",
    ),
    "unknown split": (
        "retrieve",
        ["ckpt_path={ckpt}", "query=even", "split=dev"],
        "split must be one of test, val, train",
    ),
    "explore a folder that is none": (
        "explore",
        ["ckpt_path={ckpt}", "galleries=[nowhere]", "port=0"],
        "there is no folder nowhere",
    ),
    "explore a folder out of a list": (
        "explore",
        ["ckpt_path={ckpt}", "galleries=nowhere"],
        "galleries must be a list, each item text, not 'nowhere'",
    ),
    "explore no number of images": (
        "explore",
        ["ckpt_path={ckpt}", "top_k=many"],
        "top_k must be a whole number, not 'many'",
    ),
    "explore at no port": ("explore", ["ckpt_path={ckpt}", "port=65536"], "port must be a whole"),
    "explore at a host elsewhere": (
        "explore",
        ["ckpt_path={ckpt}", "host=192.0.2.1"],
        "cannot listen at 192.0.2.1:7860",
    ),
    "explore beside nothing": (
        "explore",
        ["ckpt_path={ckpt}", "beside=nowhere.ckpt", "port=0"],
        "no checkpoint at nowhere.ckpt",
    ),
    "benchmark on no device": ("benchmark", ["device=tpu"], "device must be cpu or cuda"),
    "benchmark of no part": (
        "benchmark",
        ["parts=[loss,speed]"],
        "parts must be among loss, step, fit, target, retrieval, galleries, loaders, scaling",
    ),
    "unknown protocol": (
        "train",
        ["protocol=author"],
        "there is no protocol/author; choose from authors, clean",
    ),
    "weights from nowhere": (
        "train",
        ["encoder=imagenet_resnet18", "encoder.weights=nowhere.pth"],
        "no file of weights at nowhere.pth",
    ),
    "backbone of no name": (
        "train",
        ["encoder=imagenet_resnet18", "encoder.model=resnet19"],
        "timm has no model 'resnet19'",
    ),
    "CLIP from nowhere": (
        "train",
        ["encoder=clip", "encoder.model=/nowhere/clip"],
        "there is no folder /nowhere/clip",
    ),
    "CLIP from nowhere on the hub": (
        "train",
        ["encoder=clip", "encoder.model=nobody-0/no-clip"],
        "there is no folder nobody-0/no-clip, and no such model from the hub",
    ),
    "CLIP of another architecture": (
        "train",
        ["encoder=clip", "encoder.model={bert}"],
        "holds a BertModel, which has no vision_model",
    ),
    "CLIP without its tokenizer": (
        "train",
        ["encoder=clip", "encoder.model={mute}"],
        "no tokenizer in",
    ),
    "CLIP with nothing to train": (
        "train",
        ["encoder=clip", "encoder.model={clip}", "encoder.freeze=true"],
        "nothing else to train",
    ),
    "prompts longer than CLIP's context": (
        "train",
        [
            "encoder=clip",
            "encoder.model={clip}",
            "loss=contrastive",
            "readout=text",
            "module.label_coding=captions",
        ],
        "'...; set module.max_query_depth=1",
    ),
    "images on the device and in workers": (
        "train",
        ["loader.on_device=true", "loader.workers=2"],
        "set loader.workers=0",
    ),
    "subspaces from no images": ("train", ["loader.fit_images=0"], "fit_images must be at least 1"),
    # Places that cannot be written, or vanish
    "file in the place of the run": ("train", ["hydra.run.dir=file"], "File exists: 'file'"),
    "file in the place of the output": ("train", ["output_dir=file"], "file"),
    "file in the place of checkpoints": (
        "train",
        ["hydra.run.dir=nocheckpoints", "debug=fast"],
        "nocheckpoints/checkpoints",
    ),
    "file in the place of the report": (
        "train",
        ["hydra.run.dir=noreport", "debug=fast"],
        "noreport/report",
    ),
    "folder in the place of metrics": (
        "train",
        ["hydra.run.dir=nometrics", "debug=fast"],
        "Is a directory: ",
    ),
    "folder in the place of the config": ("train", ["hydra.run.dir=noconfig"], "Is a directory: "),
    "folder in the place of last.ckpt": (
        "train",
        ["hydra.run.dir=nolast", "debug=fast"],
        "Is a directory: ",
    ),
    "disk full at the results of retrieval": (
        "retrieve",
        ["ckpt_path={ckpt}", "query=even", "hydra.run.dir=fullresults"],
        "fullresults/retrieval.csv'",
    ),
    "data set in a file": (
        "train",
        ["+experiment=celeba_subspace", "data_dir=file"],
        "file/celeba",
    ),
    "data vanished before a resumption": (
        "train",
        ["dataset=mnist", "data_dir=nowhere", "ckpt_path={ckpt}"],
        "no MNIST in nowhere/MNIST/raw",
    ),
    # Checkpoints
    "resume from one flipped bit": ("train", ["ckpt_path=flipped.ckpt"], "it is damaged"),
    "evaluate one flipped bit": ("evaluate", ["ckpt_path=flipped.ckpt"], "it is damaged"),
    "evaluate an empty file": ("evaluate", ["ckpt_path=empty.ckpt"], "it is damaged"),
    "evaluate a config that is a number": (
        "evaluate",
        ["ckpt_path=number.ckpt"],
        "it holds no config",
    ),
    "evaluate a part that is text": ("evaluate", ["ckpt_path=part.ckpt"], "its config has no loss"),
    "evaluate what an older version wrote": (
        "evaluate",
        ["ckpt_path=older.ckpt"],
        "another version of this project: encoder.batch_norm is missing",
    ),
    "evaluate without minterms": ("evaluate", ["ckpt_path=minterms.ckpt"], "it holds no minterms"),
    "resume from weights alone": (
        "train",
        ["ckpt_path=weights.ckpt", SHORT[0]],
        "it holds weights, but not all the rest",
    ),
    "resume from a diverged batch": ("train", ["ckpt_path=batch.ckpt"], "it holds no config"),
    "gallery of a damaged image": (
        "retrieve",
        ["ckpt_path={ckpt}", "query=even", "gallery=damaged"],
        "is damaged",
    ),
    "gallery of a damaged image among others": (
        "retrieve",
        ["ckpt_path={ckpt}", "query=even", "gallery=mixed", "strict=true"],
        "mixed/b.png is damaged",
    ),
    "gallery of no image": (
        "retrieve",
        ["ckpt_path={ckpt}", "query=even", "gallery=nocheckpoints"],
        "no images in nocheckpoints; left out: with other endings (none): 1",
    ),
    "neither strict nor not": (
        "retrieve",
        ["ckpt_path={ckpt}", "query=even", "strict=perhaps"],
        "strict must be true or false, not 'perhaps'",
    ),
    # Names of files as references to other keys
    "folder of a run": ("train", ["hydra.run.dir=${{b}}/run"], f"hydra.run.dir: {NO_KEY}"),
    "folder of a sweep": ("train", ["-m", "hydra.sweep.dir=${{b}}"], f"hydra.sweep.dir: {NO_KEY}"),
    "folder of all data": ("prepare", ["data_dir=a${{b}}"], f"data_dir: {NO_KEY}"),
    "folder of images": ("prepare", [*TABLE, "dataset.labels=${{b}}"], f"labels: {NO_KEY}"),
    "folder of a model": ("train", ["encoder=clip", "encoder.model=${{b}}"], f"model: {NO_KEY}"),
    "gallery": (
        "retrieve",
        ["ckpt_path={ckpt}", "query=even", "gallery=${{b}}"],
        f"gallery: {NO_KEY}",
    ),
    "gallery of a page": (
        "explore",
        ["ckpt_path={ckpt}", "galleries=[a${{b}}]"],
        f"galleries[0]: {NO_KEY}",
    ),
    "gallery of half a reference": (
        "retrieve",
        ["ckpt_path={ckpt}", "query=even", "gallery=a${{b"],
        f"; {REFERENCE}",
    ),
    "gallery of a function": (
        "retrieve",
        ["ckpt_path={ckpt}", "query=even", "gallery=${{b:c}}"],
        f"gallery: Unsupported interpolation type b; {REFERENCE}",
    ),
    "gallery of a variable": (
        "retrieve",
        ["ckpt_path={ckpt}", "query=even", "gallery=${{oc.env:NOPE}}"],
        f"Environment variable 'NOPE' not found\"; {REFERENCE}",
    ),
    "value of Hydra's of another type": (
        "train",
        ["hydra.job.num=word"],
        "override hydra.job.num=word: Value 'word' of type 'str' could not be converted to Integer",
    ),
    # Found by random overrides
    "options out of numbers": ("train", ["encoder=[1,2]"], "no config can be composed of these"),
    "flag of a number": ("train", ["optimizer._partial_=2"], "optimizer._partial_ must be true or"),
    "protocol named by a list": ("train", ["protocol.name=[1]"], "protocol.name must be text"),
    "target of no type": ("train", ["loss._target_=0.5"], "loss must hold the _target_ to call"),
    "target that is a module": ("train", ["dataset._target_=torch"], "dataset._target_"),
    "target nowhere": ("train", ["loss._target_=nowhere.Loss"], "loss._target_: Error loading"),
    "callback out of nothing": ("train", ["callbacks.stop=null"], "must hold the _target_ to call"),
    "group out of a number": ("train", ["~protocol", "+protocol=3"], "must be a string or a list"),
    "missing argument of an optimizer": (
        "train",
        ["~optimizer.weight_decay"],
        "optimizer: missing a required argument: 'weight_decay'",
    ),
    "missing argument": ("train", ["~dataset.split_seed"], "dataset.split_seed is missing"),
    "checkpoint path of a number": ("train", ["++ckpt_path=0"], "no checkpoint at 0"),
    "test neither true nor false": ("train", ["test=often"], "test must be true or false"),
    "name left out": ("train", ["name=null"], "name must be text, not None"),
    "file name of groups": (
        "train",
        ["+callbacks.checkpoint_best.filename.a=1"],
        "callbacks.checkpoint_best.filename must be text or null",
    ),
    "folder of a number": (
        "train",
        ["callbacks.checkpoint_best.dirpath=1.5"],
        "callbacks.checkpoint_best.dirpath must be",
    ),
}

# Tables of labels for the images 0.png to 9.png, which are damaged, and what the message must hold
BAD_TABLES: dict[str, tuple[str | bytes, str]] = {
    "missing": ("file,hat\n0.png,1\n10.png,0\n11.png,1\n", "2 of 3 images are not in "),
    "value": ("file,hat\n\n0.png,1\n1.png,maybe\n", ", line 4: hat is 'maybe', which is no label"),
    "number": ("file,hat\n0.png,0.5\n", ", line 2: hat is '0.5', which is no label"),
    "uncertain": ("file,hat\n0.png,0\n1.png,-1\n", ", line 3: hat is -1, while other labels are 0"),
    "unknown": ("file,hat\n0.png,1\n1.png,\n", "set dataset.unknown=negative"),
    "twice": ("file,hat\n0.png,1\n0.png,0\n", "once: 0.png ("),
    "constant": ("file,hat\n" + "".join(f"{n}.png,1\n" for n in range(10)), "nothing to learn in"),
    "undecodable": ("file,hat\n" + "".join(f"{n}.png,{n % 2}\n" for n in range(10)), "is damaged"),
    "few": ("file,hat\n0.png,1\n1.png,0\n", "leaves no image to val and test"),
    "split": ("file,hat,split\n0.png,1,tset\n", ", line 2: 'tset' is no split"),
    "untested": ("file,hat,split\n0.png,1,train\n1.png,0,val\n", "leaves no image to test"),
    "unnamed": ("file,hat\n0.png,1\n,0\n", ", line 3: no image is named"),
    "headless": (",file,hat\n0,0.png,1\n", "its first column has no name; say by dataset.name_"),
    "unlabelled": ("file\n0.png\n", "has no column of labels, only file"),
    "reserved": ("file,and\n0.png,1\n", "'and' cannot name a literal"),
    "alike": ("file,a b,a-b\n0.png,1,0\n", "a column needs another name than 'a-b'"),
    "same": ("file,hat,hat\n0.png,1,0\n", "has two columns hat"),
    "short": ("file,hat\n0.png\n", ", line 2: 1 values, where 2 columns are named"),
    "quoted": ('file,hat\n"0.png,1\n', ", line 2: no row of a table"),
    "rowless": ("file,hat\n", "has no row"),
    "empty": ("\n", "is empty"),
    "utf16": ("file,hat\n0.png,1\n".encode("utf-16"), ", line 1: no text in UTF-8"),
    "page": ("<html>moved</html>", "holds a web page"),
}
BAD_INPUTS |= {
    f"table: {name}": ("train", [*TABLE, f"dataset.labels=tables/{name}.csv"], expected)
    for name, (_, expected) in BAD_TABLES.items()
}
BAD_INPUTS |= {
    "table: not there": (
        "train",
        [*TABLE, "dataset.labels=nowhere/labels.csv"],
        "nowhere: there is no such folder), and no labels.csv in data",
    ),
    "table: not said": ("train", TABLE, "dataset.labels is missing: add dataset.labels=..."),
    "table: no such literal": (
        "train",
        [*TABLE, "dataset.labels=tables/few.csv", "dataset.literals=[hut]"],
        "has no column hut; did you mean hat?",
    ),
    "table: no such column of names": (
        "train",
        [*TABLE, "dataset.labels=tables/few.csv", "dataset.name_column=fiel"],
        "has no column fiel; did you mean file?",
    ),
    "folder: no classes": (
        "train",
        ["dataset=folder", "dataset.images=pictures"],
        "has 0 folders of images",
    ),
    "folder: not there": (
        "train",
        ["dataset=folder", "dataset.images=nowhere"],
        "there is no ",
    ),
}


class Payload:
    """Runs a command when it is unpickled without care."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("executed",)


def make_bad_places() -> None:
    """Folders here in which something is in the way, or what is written goes to a full device."""
    Path("file").write_text("in the way")
    for folder in ("pictures", "tables"):
        Path(folder).mkdir()
    for number in range(10):
        Path(f"pictures/{number}.png").write_bytes(b"no image")
    for table, (content, _) in BAD_TABLES.items():
        data = content if isinstance(content, bytes) else content.encode()
        Path(f"tables/{table}.csv").write_bytes(data)
    Path("cut.txt").write_text("even\n\nprime &  # cut off\n")
    Path("never.txt").write_text("even\neven & ~even\n")
    Path("comments.txt").write_text("# nothing\n\n# is asked\n")
    Path("utf16.txt").write_text("even", encoding="utf-16")
    Path("queries.txt").write_text("even\n\n1\n")
    for name, blocked in (("nocheckpoints", "checkpoints"), ("noreport", "report")):
        Path(name).mkdir()
        (Path(name) / blocked).write_text("in the way")
    for name in ("nometrics/metrics.json", "noconfig/config.yaml", "nolast/checkpoints/last.ckpt"):
        Path(name, "in the way").mkdir(parents=True)
    Path("fullresults").mkdir()
    Path("fullresults/retrieval.csv").symlink_to("/dev/full")
    Path("damaged").mkdir()
    Path("damaged/image.png").write_bytes(b"no image")
    Path("mixed").mkdir()
    Path("mixed/b.png").write_bytes(b"no image")
    Image.new("L", (8, 8)).save("mixed/a.png")


def write_bad_checkpoints(good: Path) -> None:
    """Write them into the current folder."""
    Path("garbage.ckpt").write_bytes(b"not a checkpoint")
    Path("truncated.ckpt").write_bytes(good.read_bytes()[:5000])
    Path("pickled.ckpt").write_bytes(pickle.dumps(Payload()))
    torch.save({"state_dict": {}}, "foreign.ckpt")
    checkpoint = torch.load(good, weights_only=True)
    encoder = checkpoint["config"]["encoder"]
    checkpoint["config"]["encoder"] = encoder | {"embedding_dim": 16}
    torch.save(checkpoint, "mixed.ckpt")
    checkpoint["config"]["encoder"] = {"_target_": "os.mkdir", "path": "executed"}
    torch.save(checkpoint, "hostile.ckpt")
    # Reached through what one of our own modules imports.
    disguised = {"_target_": "src.data.mnist.gzip.open", "filename": "executed", "mode": "wb"}
    checkpoint["config"]["encoder"] = disguised
    torch.save(checkpoint, "disguised.ckpt")

    flipped = bytearray(good.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    Path("flipped.ckpt").write_bytes(flipped)
    Path("empty.ckpt").touch()
    checkpoint = torch.load(good, weights_only=True)
    config, state = checkpoint["config"], checkpoint["state_dict"]
    older = {name: value for name, value in config["encoder"].items() if name != "batch_norm"}
    others = {
        "number": {"config": 3},
        "part": {"config": config | {"loss": "nuclear"}},
        "minterms": {"state_dict": {}},
        "older": {"config": config | {"encoder": older}},
    }
    for name, changes in others.items():
        torch.save(checkpoint | changes, f"{name}.ckpt")
    torch.save({"config": config, "state_dict": state}, "weights.ckpt")
    torch.save({"images": torch.zeros(1), "state_dict": state}, "batch.ckpt")


@pytest.fixture(scope="module")
def bad_checkpoints(trained_run: Run, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("bad"))
        write_bad_checkpoints(trained_run.checkpoint)
        return list(Path.cwd().iterdir())


@pytest.fixture(scope="module")
def before(trained_run: Run) -> dict[Path, bytes]:
    """The files of the run that commands here read and must not change."""
    return files(trained_run.folder)


@pytest.fixture(scope="module")
def models(clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small CLIP, one without its tokenizer, and a BERT in the place of one."""
    folder = tmp_path_factory.mktemp("models")
    mute, bert = (Path(shutil.copytree(clip_folder, folder / name)) for name in ("mute", "bert"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (mute / name).unlink()
    config = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
    BertModel(config).save_pretrained(bert)
    return {"clip": clip_folder, "mute": mute, "bert": bert}


def files(folder: Path) -> dict[Path, bytes]:
    """All files of a run but the log of W&B's service, which lies elsewhere and goes on."""
    found = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path: path.read_bytes() for path in found}


@pytest.mark.parametrize(
    ("command", "arguments", "expected"), BAD_INPUTS.values(), ids=BAD_INPUTS.keys()
)
def test_bad_input_is_answered_in_two_lines_and_harms_nothing(
    command: str,
    arguments: list[str],
    expected: str,
    trained_run: Run,
    before: dict[Path, bytes],
    bad_checkpoints: list[Path],
    models: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for path in bad_checkpoints:
        Path(path.name).symlink_to(path)
    make_bad_places()
    places = models | {"ckpt": trained_run.checkpoint}
    arguments = [argument.format(**places) for argument in arguments]
    arguments += ["logger=none"] if command == "train" else []
    result = run_command(command, *arguments)
    assert result.status == 1
    assert result.message.startswith("error: ")
    assert expected in result.message
    assert len(result.message.splitlines()) <= 2
    assert "Traceback" not in result.message + capsys.readouterr().err
    assert files(trained_run.folder) == before
    assert not Path("executed").exists()


def test_full_disk_is_said_with_a_place_where_the_writer_names_none() -> None:
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, unlimited[1]))
    try:
        result = run_command("prepare", "dataset=digits")  # Hydra's own files come first
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert result.message == (
        f"error: [Errno 27] File too large, below {Path.cwd()} or where hydra.run.dir leads"
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("trainer", ["gpu", "ddp"])
def test_gpu_trainer_without_a_gpu_does_not_fall_back(trainer: str) -> None:
    result = run_command("train", f"trainer={trainer}", "logger=none")
    assert result.status == 1
    assert "No supported gpu backend found" in result.message


def test_process_ends_with_status_one_and_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "src.train", "loss.alpha=2", f"hydra.run.dir={tmp_path}"]
    environment = os.environ | {"HYDRA_FULL_ERROR": "0"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.returncode == 1
    assert "alpha must be a number between 0 and 1" in result.stderr
    assert "Traceback" not in result.stderr


def test_error_leaves_the_command_with_its_traceback_on_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    monkeypatch.setattr(sys, "argv", ["src/train.py", "loss.alpha=2", "hydra.run.dir=run"])
    with pytest.raises(InstantiationException, match="alpha must be a number between 0 and 1"):
        main()


def test_an_error_without_words_says_where_it_stands() -> None:
    with pytest.raises(AssertionError) as caught:
        raise AssertionError
    said = describe_error(caught.value)
    assert said.startswith(f"AssertionError: raise AssertionError ({__file__}:")


def test_errors_of_several_processes_keep_their_lines() -> None:
    packets, end = os.pipe2(os.O_DIRECT)  # where each write is read by itself
    command = [sys.executable, "-u", "-m", "src.train", "loss.alhpa=0.9"]
    subprocess.run(command, cwd=ROOT, stderr=end, check=False)
    os.close(end)
    written = [packet.decode() for packet in iter(lambda: os.read(packets, 4096), b"")]
    assert [text for text in written if "alhpa" in text] == [written[-1]]
    assert written[-1].startswith("error: ")
    assert written[-1].endswith("\n")
