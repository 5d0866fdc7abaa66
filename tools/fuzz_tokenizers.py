#!/usr/bin/env python3
"""Compares tmodel's tokenizers with the reference libraries on seeded random texts.

Needs the environment of tools/oracle_env.sh. INSPECT is the program examples/inspect.

  fuzz_tokenizers.py json INSPECT TOKENIZER.json [...]   any tokenizer.json against the tokenizers library: ids with and
                                                         without special tokens, decoding with and without them
  fuzz_tokenizers.py sentencepiece INSPECT               models of every kind, trained here, against sentencepiece:
                                                         tokenizer.model and its GGUF form; its tokenizer.json form
                                                         against the tokenizers library
  fuzz_tokenizers.py tiktoken INSPECT TOKENIZER.json     a byte-level tokenizer.json's ranks as a rank file against
                                                         tiktoken
  options: --count N texts (20,000), --seed S, --planes all: characters of any plane and Unicode version. A difference is
           then explained if it goes away without the characters that are newer than one side's Unicode version (14 of
           PCRE2 10.42 and Python 3.11, 8 of the reference's normaliser and punctuation); one that stays fails

By default texts use characters assigned up to Unicode 8, which every library classifies alike.
"""
import argparse
import base64
import functools
import io
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata

# Pieces of text in which tokenizers err. Ranges are inside blocks complete before Unicode 8.
LETTERS = [(0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F), (0x370, 0x3FF), (0x400, 0x4FF), (0x5D0, 0x5EA), (0x620, 0x64A),
           (0x905, 0x939), (0xE01, 0xE30), (0x10D0, 0x10F0), (0x1E00, 0x1EFF), (0x3041, 0x3096), (0x30A1, 0x30FA),
           (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0x10400, 0x1044F), (0x12000, 0x1236E), (0x1D400, 0x1D454)]
MARKS = [(0x300, 0x34E), (0x591, 0x5BD), (0x64B, 0x655), (0x93E, 0x94D), (0x20D0, 0x20DC), (0xFE00, 0xFE0F)]
DIGITS = [(0x30, 0x39), (0x660, 0x669), (0x966, 0x96F), (0xB2, 0xB3), (0xBC, 0xBE), (0x2160, 0x2188), (0xFF10, 0xFF19)]
SYMBOLS = [(0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E), (0xA1, 0xBF), (0x2010, 0x2027), (0x2030, 0x205E),
           (0x20A0, 0x20B5), (0x2190, 0x23F3), (0x2500, 0x26FF), (0x3001, 0x3020), (0xFF01, 0xFF0F), (0xFB00, 0xFB06)]
BLANKS = "    \t\n\r \n\n\r\n\u00a0\u1680\u2003\u2028\u2029\u202f\u205f\u3000\u000b\u000c\u0085\u200b\ufeff"
EMOJI = ["👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "❤️", "😀", "👩🏾‍💻", "1️⃣", "☃️"]
WORDS = ["the", "The", "THE", "don't", "I'll", "we've", "it's", "'S", "'ll", "ſ", "'s", "hello", "world", "naïve", "Straße", "İstanbul",
         "ﬁne", "①②③", "x²", "½", "Ω", "K", "e\u0301", "ab\u0308c", "한국어", "日本語", "中文字符", "שָׁלוֹם", "مرحبا", "नमस्ते", "ไทย", "ǅ", "ŉ",
         "def f(x):", "return x**2", "int main() {", "}", "//", "/*", "->", "::", "!=", "<html>", "</p>", "&amp;", "https://a.b/c?d=e",
         "0x1F", "3.14", "1,000,000", "1e-10", "<|endoftext|>", "<s>", "</s>", "<unk>", "[INST]", "<|im_start|>", "<0x0A>", "▁", "▁▁a", "_"]


def assigned(point):
    return unicodedata.category(chr(point)) not in ("Cn", "Cs")


RECLASSIFIED = {0x166D}  # punctuation until Unicode 11, a symbol since

@functools.cache
def unicode8():
    """Code points that Unicode 8 assigned; Perl knows the ages of characters, Python does not."""
    program = 'for (0..0x10FFFF) { print "$_\n" if ($_ < 0xD800 || $_ > 0xDFFF) && chr =~ /\\p{Present_In=8.0}/ }'
    found = subprocess.run(["perl", "-e", program], capture_output=True, text=True, check=True).stdout
    return frozenset(map(int, found.split())) - RECLASSIFIED


# What a difference over all planes may come from: characters that one side's tables know and the other's do not.
AGES = [(f"newer than Unicode {unicodedata.unidata_version}, which PCRE2 carries", assigned),
        ("newer (or of another kind) than in Unicode 8, which the reference's normaliser and punctuation carry", lambda point: point in unicode8())]


def random_text(rng, all_planes):
    one = lambda ranges: chr(rng.randint(*rng.choice(ranges)))
    word = lambda ranges, n: "".join(one(ranges) for _ in range(n))
    parts = []
    for _ in range(rng.choice([1, 2, 3, 5, 8, 13, 30])):
        kind = rng.randrange(16 if not all_planes else 20)
        if kind < 4: parts.append(rng.choice(WORDS))
        elif kind == 4: parts.append(word([rng.choice(LETTERS)], rng.randint(1, 12)))
        elif kind == 5: parts.append(word(LETTERS, rng.randint(1, 6)))
        elif kind == 6: parts.append(word([rng.choice(DIGITS)], rng.choice([1, 2, 3, 4, 9, 40])))
        elif kind == 7: parts.append(word([rng.choice(SYMBOLS)], rng.randint(1, 4)))
        elif kind == 8: parts.append(one(LETTERS) + word(MARKS, rng.randint(1, 4)))
        elif kind == 9: parts.append(rng.choice(BLANKS) * rng.choice([1, 1, 2, 3, 8, 60]))
        elif kind == 10: parts.append("".join(rng.choice(BLANKS) for _ in range(rng.randint(1, 8))))
        elif kind == 11: parts.append(rng.choice(EMOJI))
        elif kind == 12: parts.append(chr(rng.randint(0, 0x1F)))
        elif kind == 13: parts.append(rng.choice("abcXYZ ") * rng.choice([1, 5, 30, 90]))
        elif kind == 14: parts.append(rng.choice(WORDS) + rng.choice(SYMBOL_TEXT) + rng.choice(WORDS))
        elif kind == 15: parts.append("".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(1, 10))))
        else: parts.append("".join(chr(point) for point in (rng.randint(0x80, rng.choice([0x2FFF, 0x1FFFF, 0x3FFFF, 0x10FFFF])) for _ in range(rng.randint(1, 6)))
                                   if not 0xD800 <= point < 0xE000))
        if rng.random() < 0.5: parts.append(" ")
    return "".join(parts)


SYMBOL_TEXT = [chr(c) for begin, end in SYMBOLS[:4] for c in range(begin, end + 1)]


def texts_of(arguments, extra=()):
    rng = random.Random(arguments.seed)
    texts = ["", " ", "  ", "\n", "a", " a", "a ", "  a  b  "]
    while len(texts) < arguments.count:
        text = random_text(rng, arguments.planes == "all")
        if extra and rng.random() < 0.3:
            at = rng.randint(0, len(text))
            text = text[:at] + rng.choice(extra) + text[at:]
        texts.append(text)
    return texts


def ours(inspect, model, lines, *flags):
    """One result for each line: ids of a text, text of ids."""
    text = "".join(json.dumps(line) + "\n" for line in lines)
    done = subprocess.run([inspect, "tokens", str(model), "--lines", "-", *flags], input=text.encode(), stdout=subprocess.PIPE, check=True)
    results = [json.loads(line) for line in done.stdout.decode().split("\n")[:-1]]
    assert len(results) == len(lines), (len(results), len(lines))
    return results


class Report:
    def __init__(self, all_planes):
        self.all_planes, self.failed = all_planes, 0

    def compare(self, what, inputs, reference, got):
        """reference(inputs) gives what is wanted; got(inputs) what tmodel makes of them."""
        wanted, have = reference(inputs), got(inputs)
        wrong = [i for i in range(len(inputs)) if wanted[i] != have[i]]
        print(f"{what}: {len(inputs)} compared, {len(wrong)} differ", flush=True)
        explained = {}  # number of the text: why
        for age, is_old in AGES if self.all_planes and wrong and isinstance(inputs[0], str) else []:
            left = [i for i in wrong if i not in explained]
            older = ["".join(c for c in inputs[i] if is_old(ord(c))) for i in left]
            for i, want, have_now in zip(left, reference(older), got(older)):
                if want == have_now:
                    explained[i] = age + ": " + " ".join(f"U+{ord(c):04X}" for c in inputs[i] if not is_old(ord(c)))
            if wrong: print(f"    {len([w for w in explained.values() if w.startswith(age)])} of {len(wrong)} explained by characters {age}")
        for i in wrong[:20]:
            print("   ", json.dumps(inputs[i])[:300], "wanted", json.dumps(wanted[i])[:300], "got", json.dumps(have[i])[:300],
                  explained.get(i, "UNEXPLAINED" if self.all_planes else ""))
        self.failed += len(wrong) - len(explained)


def check_json(arguments):
    from tokenizers import Tokenizer
    report = Report(arguments.planes == "all")
    for path in arguments.files:
        reference = Tokenizer.from_file(str(path))
        reference.no_truncation(), reference.no_padding()
        added = [t.content for t in reference.get_added_tokens_decoder().values()]
        texts = texts_of(arguments, added)
        name = path.parent.name + "/" + path.name
        encode = lambda texts: [e.ids for e in reference.encode_batch(texts)]
        bare = lambda texts: [e.ids for e in reference.encode_batch(texts, add_special_tokens=False)]
        report.compare(f"{name}: ids", texts, encode, lambda texts: ours(arguments.inspect, path, texts))
        # Plain text has no special tokens in it: only texts in which the reference finds none can be compared.
        special = {i for i, t in reference.get_added_tokens_decoder().items() if t.special}
        bare_ids = bare(texts)
        plain = [text for text, ids in zip(texts, bare_ids) if not special & set(ids)]
        report.compare(f"{name}: ids of plain text", plain, bare, lambda texts: ours(arguments.inspect, path, texts, "--raw"))
        rng = random.Random(arguments.seed + 1)
        size = reference.get_vocab_size()
        ids = bare_ids + [[rng.randrange(size) for _ in range(rng.randint(1, 12))] for _ in range(len(texts) // 4)]
        for skip in (False, True):
            report.compare(f"{name}: texts{' without special tokens' if skip else ''}", ids,
                           lambda ids: reference.decode_batch(ids, skip_special_tokens=skip),
                           lambda ids: ours(arguments.inspect, path, ids, *(["--skip-special"] if skip else [])))
    return report.failed


def corpus():
    """Sentences to train on: enough different words for a few hundred pieces."""
    rng = random.Random(0)
    syllables = ["ka", "lo", "mi", "ter", "an", "str", "ing", "über", "né", "по", "да", "東", "京", "の", "말", "ш", "ing ", "the "]
    lines = [" ".join("".join(rng.choice(syllables) for _ in range(rng.randint(1, 4))) for _ in range(rng.randint(3, 12)))
             for _ in range(4000)]
    lines += [" ".join(rng.choice(WORDS) for _ in range(8)) for _ in range(1500)]
    return [line.replace("\0", "") for line in lines]


def write_gguf(path, proto, kind):
    import gguf
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_tokenizer_model({"bpe": "llama", "unigram": "t5"}[kind])
    writer.add_token_list([p.piece.encode() for p in proto.pieces])
    writer.add_token_scores([p.score for p in proto.pieces])
    writer.add_token_types([p.type for p in proto.pieces])
    writer.add_add_space_prefix(proto.normalizer_spec.add_dummy_prefix)
    writer.add_remove_extra_whitespaces(proto.normalizer_spec.remove_extra_whitespaces)
    if proto.normalizer_spec.precompiled_charsmap:
        writer.add_precompiled_charsmap(proto.normalizer_spec.precompiled_charsmap)
    writer.add_unk_token_id(0), writer.add_bos_token_id(1), writer.add_eos_token_id(2)
    writer.add_add_bos_token(False), writer.add_add_eos_token(False)
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.close()


def write_tokenizer_json(path, proto, kind):
    """As transformers converts a SentencePiece model."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    byte_fallback = proto.trainer_spec.byte_fallback
    if kind == "unigram":
        model = models.Unigram([(p.piece, p.score) for p in proto.pieces], 0, byte_fallback)
    else:
        vocab = {p.piece: i for i, p in enumerate(proto.pieces)}
        merges = []
        for piece, rank in vocab.items():
            local = [(piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in vocab and piece[i:] in vocab]
            merges += [(pair, rank) for pair in sorted(local, key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))]
        merges = [pair for pair, _ in sorted(merges, key=lambda merge: -proto.pieces[merge[1]].score)]
        model = models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=byte_fallback)
    t = Tokenizer(model)
    steps = []
    if proto.normalizer_spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap))
    if proto.normalizer_spec.remove_extra_whitespaces:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), "▁")]
    if steps: t.normalizer = normalizers.Sequence(steps)
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always" if proto.normalizer_spec.add_dummy_prefix else "never", split=kind == "unigram")
    t.decoder = (decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
                 if byte_fallback else decoders.Metaspace(prepend_scheme="always" if proto.normalizer_spec.add_dummy_prefix else "never"))
    t.add_special_tokens([AddedToken(p.piece, normalized=False, special=True) for p in proto.pieces if p.type in (2, 3)])
    t.add_tokens([AddedToken(p.piece, normalized=False) for p in proto.pieces if p.type == 4])
    t.save(str(path))
    return t


def check_sentencepiece(arguments):
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2
    report = Report(arguments.planes == "all")
    symbols = ["<sep>", "▁▁", "abc", "東京", "ing the"]
    cases = [("bpe", {}), ("unigram", {}), ("bpe", {"byte_fallback": True}), ("unigram", {"byte_fallback": True}),
             ("bpe", {"user_defined_symbols": symbols}), ("unigram", {"user_defined_symbols": symbols, "byte_fallback": True}),
             ("bpe", {"add_dummy_prefix": False, "byte_fallback": True}), ("unigram", {"add_dummy_prefix": False}),
             ("bpe", {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "byte_fallback": True}),
             ("unigram", {"normalization_rule_name": "identity", "remove_extra_whitespaces": False}),
             ("bpe", {"normalization_rule_name": "nfkc_cf"}), ("unigram", {"normalization_rule_name": "nmt_nfkc_cf", "byte_fallback": True})]
    texts = texts_of(arguments, symbols)
    for kind, options in cases:
        buffer = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(corpus()), model_writer=buffer, model_type=kind, vocab_size=600,
                                                 character_coverage=0.98, hard_vocab_limit=False, minloglevel=2, **options)
        name = f"{kind} {options}"
        reference = sentencepiece.SentencePieceProcessor(model_proto=buffer.getvalue())
        proto = sentencepiece_model_pb2.ModelProto()
        proto.ParseFromString(buffer.getvalue())
        wanted = reference.encode(texts)
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "tokenizer.model").write_bytes(buffer.getvalue())
            write_gguf(folder / "tokenizer.gguf", proto, kind)
            for file in ("tokenizer.model", "tokenizer.gguf"):
                report.compare(f"{name}: {file}: ids", texts, reference.encode,
                               lambda texts: ours(arguments.inspect, folder / file, texts, "--raw"))
                report.compare(f"{name}: {file}: texts", wanted, reference.decode,
                               lambda ids: ours(arguments.inspect, folder / file, ids))
            converted = write_tokenizer_json(folder / "tokenizer.json", proto, kind)
            encode = lambda texts: [e.ids for e in converted.encode_batch(texts, add_special_tokens=False)]
            by_json = encode(texts)
            report.compare(f"{name}: tokenizer.json: ids", texts, encode,
                           lambda texts: ours(arguments.inspect, folder / "tokenizer.json", texts))
            report.compare(f"{name}: tokenizer.json: texts", by_json, lambda ids: converted.decode_batch(ids, skip_special_tokens=False),
                           lambda ids: ours(arguments.inspect, folder / "tokenizer.json", ids))
            same = sum(a == b for a, b in zip(by_json, wanted))
            print(f"    the tokenizers library itself agrees with sentencepiece on {same} of {len(texts)}")
    return report.failed


def bytes_of(token):
    """Bytes of a token written in GPT-2's byte alphabet."""
    printable = [b for b in range(256) if 0x21 <= b <= 0x7E or 0xA1 <= b <= 0xAC or b >= 0xAE]
    alphabet = {chr(b): b for b in printable} | {chr(0x100 + i): b for i, b in enumerate(sorted(set(range(256)) - set(printable)))}
    return bytes(alphabet[c] for c in token)


def check_tiktoken(arguments):
    """The ranks of a byte-level BPE tokenizer.json as tiktoken has them; with a pattern of OpenAI's kind."""
    import tiktoken
    report = Report(arguments.planes == "all")
    pattern = (r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"""
               r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"""
               r"""\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+""")
    for path in arguments.files:
        vocab = json.loads(path.read_text())["model"]["vocab"]
        # Single bytes first, then the others by id: every rank file has its bytes before what they merge to.
        tokens = sorted({bytes_of(t): i for t, i in vocab.items()}.items(), key=lambda entry: (len(entry[0]) > 1, entry[1]))
        ranks = {token: rank for rank, (token, _) in enumerate(tokens)}
        special = {"<|endoftext|>": len(ranks) + 3, "<|im_start|>": len(ranks) + 4, "<|start|>x": len(ranks) + 9}
        reference = tiktoken.Encoding("test", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)
        texts = texts_of(arguments, list(special))
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "test.tiktoken"
            file.write_text("".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in ranks.items()))
            options = pathlib.Path(folder) / "test.tiktoken.json"
            options.write_text(json.dumps({"pattern": pattern, "special_tokens": special}))
            name = path.parent.name + " as tiktoken"
            encode = lambda texts: [reference.encode(text, allowed_special="all") for text in texts]
            plain = lambda texts: [reference.encode(text, disallowed_special=()) for text in texts]
            report.compare(f"{name}: ids", texts, encode, lambda texts: ours(arguments.inspect, file, texts, "--tiktoken", str(options)))
            report.compare(f"{name}: ids of plain text", texts, plain,
                           lambda texts: ours(arguments.inspect, file, texts, "--raw", "--tiktoken", str(options)))
            ids = encode(texts)
            report.compare(f"{name}: texts", ids, lambda ids: [reference.decode(i) for i in ids],
                           lambda ids: ours(arguments.inspect, file, ids, "--tiktoken", str(options)))
    return report.failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, run in (("json", check_json), ("sentencepiece", check_sentencepiece), ("tiktoken", check_tiktoken)):
        c = commands.add_parser(name)
        c.add_argument("inspect")
        if name != "sentencepiece": c.add_argument("files", nargs="+", type=pathlib.Path)
        c.add_argument("--count", type=int, default=20000)
        c.add_argument("--seed", type=int, default=1)
        c.add_argument("--planes", choices=("unicode8", "all"), default="unicode8")
        c.set_defaults(run=run)
    arguments = parser.parse_args()
    failed = arguments.run(arguments)
    print(f"{failed} differences" if failed else "all equal")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
