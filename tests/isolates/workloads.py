"""Real work for every package of the list, as functions of a seed that return built-in types.

Each is imported by name, in the main interpreter and in isolates, and must give the same answer wherever it runs. The
packages are imported inside: this module itself needs none of them, nor pytest.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

type Workload = Callable[[int], Any]


def numpy(seed: int) -> list[float]:
    """BLAS, LAPACK, FFT, sorting, and random numbers."""
    import numpy as np

    random = np.random.default_rng(seed)
    matrix = random.random((150, 150))
    values = np.linalg.svd(matrix, compute_uv=False)
    solved = np.linalg.solve(matrix + 150 * np.eye(150), matrix[0])
    spectrum = np.abs(np.fft.rfft(random.standard_normal(4096)))
    ranks = np.argsort(matrix.ravel(), kind="stable")
    masked = np.ma.masked_less(matrix, 0.5)
    return [
        float(values.sum()),
        float((matrix @ matrix.T).trace()),
        float(solved.sum()),
        float(spectrum.max()),
        int(ranks[100]),
        float(masked.mean()),
        float(np.einsum("ij,jk,ki->", matrix, matrix, matrix)),
    ]


def pandas(seed: int) -> dict[str, Any]:
    """Group, join, resample, parse and write."""
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "island": random.choice(["Föhr", "Sylt", "Amrum"], 2000),
            "depth": random.random(2000) * 30,
            "at": pd.date_range("2026-01-01", periods=2000, freq="h", tz="Europe/Berlin"),
        }
    )
    names = pd.DataFrame({"island": ["Föhr", "Sylt"], "size": [82, 99]})
    joined = frame.merge(names, on="island", how="left")
    text = frame.head(50).to_csv(index=False)
    again = pd.read_csv(io.StringIO(text), parse_dates=["at"])
    return {
        "means": frame.groupby("island")["depth"].mean().to_dict(),
        "weekly": [float(value) for value in frame.set_index("at")["depth"].resample("W").sum()],
        "unknown": int(joined["size"].isna().sum()),
        "rolling": float(frame["depth"].rolling(24).mean().dropna().iloc[-1]),
        "csv": (len(text), str(again.dtypes["depth"]), again["island"].tolist()[:3]),
        "pivot": frame.assign(month=frame["at"].dt.month)
        .pivot_table(index="month", columns="island", values="depth", aggfunc="max")
        .to_numpy()
        .round(9)
        .tolist(),
    }


def pydantic(seed: int) -> dict[str, Any]:
    """Validation, its errors, JSON both ways, a JSON schema."""
    from pydantic import BaseModel, Field, ValidationError, field_validator

    class Berth(BaseModel):
        name: str = Field(min_length=2)
        depth: float = Field(gt=0)
        boats: list[str] = []

        @field_validator("name")
        @classmethod
        def title(cls, value: str) -> str:
            return value.title()

    class Harbour(BaseModel):
        berths: list[Berth]

    harbour = Harbour.model_validate_json(
        '{"berths": [' + ",".join(f'{{"name": "berth {n}", "depth": "{n + seed + 1}.5"}}' for n in range(200)) + "]}"
    )
    try:
        Harbour.model_validate({"berths": [{"name": "x", "depth": -1}]})
        problems = []
    except ValidationError as error:
        problems = [(list(item["loc"]), item["type"]) for item in error.errors()]
    return {
        "depths": sum(berth.depth for berth in harbour.berths),
        "last": harbour.berths[-1].model_dump(),
        "json": len(harbour.model_dump_json()),
        "problems": problems,
        "schema": sorted(Harbour.model_json_schema()["$defs"]["Berth"]["required"]),
    }


def orjson(seed: int) -> list[Any]:
    """JSON both ways, its options, its error."""
    import datetime

    import orjson as json

    document = {"seed": seed, "rows": [{"id": n, "name": f"næme {n}", "half": n / 2, "none": None} for n in range(500)]}
    text = json.dumps(document, option=json.OPT_SORT_KEYS | json.OPT_INDENT_2)
    assert json.loads(text) == document
    try:
        json.loads(b'{"open": [1, 2')
        problem = ""
    except json.JSONDecodeError as error:
        problem = str(error)
    return [text, problem, json.dumps({"at": datetime.datetime(2026, 11, 20, 12, tzinfo=datetime.UTC)})]


def polars(seed: int) -> dict[str, Any]:
    """The engine with its thread pool: group, join, lazy plans, strings, IPC, an error."""
    import polars as pl

    frame = pl.DataFrame(
        {"key": [(n * 7 + seed) % 13 for n in range(20_000)], "value": [float(n % 101) for n in range(20_000)]}
    )
    grouped = frame.group_by("key").agg(pl.col("value").sum(), pl.len().alias("rows")).sort("key")
    lazy = (
        frame.lazy()
        .filter(pl.col("key") > 3)
        .with_columns(doubled=pl.col("value") * 2, label=pl.format("k{}", "key"))
        .join(grouped.lazy(), on="key", suffix="_all")
        .sort("key", "value")
        .collect()
    )
    target = io.BytesIO()
    grouped.write_ipc(target)
    try:
        frame.select("no such column")
        problem = ""
    except pl.exceptions.ColumnNotFoundError as error:
        problem = type(error).__name__
    return {
        "grouped": grouped.rows(),
        "lazy": (lazy.shape, lazy["doubled"].sum(), lazy["label"].n_unique()),
        "ipc": pl.read_ipc(io.BytesIO(target.getvalue())).equals(grouped),
        "problem": problem,
    }


def pyarrow(seed: int) -> dict[str, Any]:
    """Tables, compute, Parquet with compression, IPC, its own threads, C++ errors."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.dataset
    import pyarrow.parquet as pq

    table = pa.table({"key": [(n + seed) % 17 for n in range(10_000)], "text": [f"t{n % 91}" for n in range(10_000)]})
    target = io.BytesIO()
    pq.write_table(table, target, compression="zstd")
    again = pq.read_table(io.BytesIO(target.getvalue()), use_threads=True)
    grouped = again.group_by("key").aggregate([("key", "count")]).sort_by("key")
    problems = []
    for attempt in (lambda: pa.array(["a"], type=pa.int32()), lambda: pq.read_table(io.BytesIO(b"not parquet"))):
        try:
            attempt()
        except pa.lib.ArrowInvalid:
            problems.append("ArrowInvalid")
    return {
        "equal": again.equals(table),
        "grouped": grouped.to_pylist(),
        "upper": pc.utf8_upper(table["text"]).value_counts()[0].as_py(),
        "sum": pc.sum(table["key"]).as_py(),
        "problems": problems,
    }


def scipy(seed: int) -> list[Any]:
    """Optimisation, integration, sparse solvers, statistics, signals, k-d trees."""
    import numpy as np
    from scipy import fft, integrate, linalg, optimize, signal, sparse, spatial, stats

    random = np.random.default_rng(seed)
    points = random.random((200, 3))
    rosenbrock = optimize.minimize(optimize.rosen, np.zeros(3), method="BFGS")
    area, _ = integrate.quad(lambda x: math.sin(x) ** 2, 0, math.pi)
    matrix = sparse.random_array((200, 200), density=0.02, rng=random).tocsc() + 5 * sparse.eye_array(200).tocsc()
    solved = sparse.linalg.spsolve(matrix, np.ones(200))
    tree = spatial.cKDTree(points)
    near, _ = tree.query(points, k=2)
    plan = optimize.linprog([1, 2], A_ub=[[-1, -1]], b_ub=[-seed - 1])
    return [
        float(rosenbrock.fun) < 1e-6,
        area,
        float(solved.sum()),
        float(near[:, 1].mean()),
        plan.fun,
        float(stats.norm.ppf(0.975)),
        float(linalg.det(points[:3])),
        float(np.abs(fft.dct(points[:, 0])).sum()),
        [float(value) for value in signal.butter(3, 0.2)[0]],
        float(spatial.ConvexHull(points).volume),
    ]


def sklearn(seed: int) -> dict[str, Any]:
    """Trees and boosting with OpenMP, a pipeline, clusters, neighbours."""
    from sklearn.cluster import KMeans
    from sklearn.datasets import load_digits, make_classification
    from sklearn.decomposition import PCA
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, y = make_classification(400, 10, random_state=seed)  # noqa: N806 (the customary name)
    digits = load_digits()
    pixels, labels = digits.data[:500], digits.target[:500]
    pipeline = make_pipeline(StandardScaler(), PCA(5, svd_solver="full"), LogisticRegression(max_iter=500))
    return {
        "forest": float(RandomForestClassifier(20, random_state=seed).fit(X, y).score(X, y)),
        "boosting": float(HistGradientBoostingClassifier(max_iter=10, random_state=seed).fit(X, y).score(X, y)),
        "pipeline": float(pipeline.fit(pixels, labels).score(pixels, labels)),
        "inertia": round(float(KMeans(10, n_init=1, random_state=seed).fit(pixels).inertia_), 3),
        "neighbours": float(KNeighborsClassifier(3).fit(pixels, labels).score(pixels, labels)),
    }


def lxml(seed: int) -> list[Any]:
    """Parsing, XPath, XSLT, a schema, HTML, and the parser's errors."""
    from lxml import etree, html

    root = etree.Element("islands")
    for number in range(300):
        etree.SubElement(root, "island", id=str(number), size=str((number * 7 + seed) % 50)).text = f"Ö {number}"
    text = etree.tostring(root, encoding="utf-8")
    parsed = etree.fromstring(text)
    sheet = etree.XSLT(
        etree.XML(
            '<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"><xsl:template match="/">'
            '<big><xsl:for-each select="//island[@size &gt; 40]"><i><xsl:value-of select="@id"/></i></xsl:for-each>'
            "</big></xsl:template></xsl:stylesheet>"
        )
    )
    schema = etree.RelaxNG(
        etree.XML(
            '<element name="islands" xmlns="http://relaxng.org/ns/structure/1.0"><oneOrMore><element name="island">'
            '<attribute name="id"/><attribute name="size"/><text/></element></oneOrMore></element>'
        )
    )
    try:
        etree.fromstring("<a><b></a>")
        problem = ""
    except etree.XMLSyntaxError as error:
        problem = str(error)
    return [
        len(text),
        parsed.xpath("sum(//island/@size)"),
        [str(found) for found in parsed.xpath("//island[@size = 49]/text()")],
        str(sheet(parsed))[-60:],
        schema.validate(parsed),
        problem,
        html.fromstring("<p>one<p>two <b>three").text_content(),
    ]


def pillow(seed: int) -> list[Any]:
    """Drawing, filters, resizing, and three codecs there and back."""
    import hashlib

    from PIL import Image, ImageDraw, ImageFilter, ImageFont

    image = Image.new("RGB", (160, 120), "navy")
    draw = ImageDraw.Draw(image)
    for number in range(20):
        x = (number * 37 + seed * 5) % 140
        draw.ellipse((x, number * 5, x + 20, number * 5 + 20), fill=(number * 12, 200, seed % 256))
    draw.text((10, 50), "Atoll", font=ImageFont.load_default(18), fill="white")
    blurred = image.filter(ImageFilter.GaussianBlur(2)).resize((80, 60), Image.Resampling.LANCZOS).rotate(30)
    sizes = []
    for form in ("PNG", "JPEG", "WEBP"):
        target = io.BytesIO()
        blurred.save(target, form)
        sizes.append((form, Image.open(io.BytesIO(target.getvalue())).convert("RGB").size))
    return [hashlib.sha256(blurred.tobytes()).hexdigest(), sizes, blurred.getpixel((40, 30)), image.histogram()[:40]]


def cryptography(seed: int) -> list[Any]:
    """Hashes, AES-GCM, Ed25519, key derivation, a certificate; OpenSSL and Rust in one extension."""
    import datetime

    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, InvalidTag
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

    key = PBKDF2HMAC(hashes.SHA256(), 32, b"salt" * 4, 1000).derive(b"secret %d" % seed)
    sealed = AESGCM(key).encrypt(b"n" * 12, b"tide tables" * 100, b"header")
    private = Ed25519PrivateKey.from_private_bytes(key)
    signature = private.sign(sealed)
    problems = []
    try:
        AESGCM(key).decrypt(b"n" * 12, sealed[:-1] + b"!", b"header")
    except InvalidTag:
        problems.append("InvalidTag")
    try:
        private.public_key().verify(signature, b"other")
    except InvalidSignature:
        problems.append("InvalidSignature")
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lagoon")])
    day = datetime.datetime(2026, 11, 20)
    certificate = (
        x509.CertificateBuilder(name, name, private.public_key(), 1000 + seed, day, day + datetime.timedelta(30))
    ).sign(private, None)
    return [
        key,
        sealed,
        signature,
        AESGCM(key).decrypt(b"n" * 12, sealed, b"header"),
        problems,
        certificate.fingerprint(hashes.SHA256()),
    ]


def msgspec(seed: int) -> list[Any]:
    """Structs, JSON and MessagePack both ways, validation."""
    import msgspec as ms

    fields = [("at", int), ("height", float), ("tags", list[str], ms.field(default_factory=list))]
    Tide = ms.defstruct("Tide", fields)  # noqa: N806 (a class)
    tides = [Tide(n, n * 0.25 + seed, ["neap"] if n % 5 == 0 else []) for n in range(300)]
    packed = ms.msgpack.encode(tides)
    assert ms.msgpack.decode(packed, type=list[Tide]) == tides
    text = ms.json.encode(tides)
    assert ms.json.decode(text, type=list[Tide]) == tides
    try:
        ms.json.decode(b'{"at": "noon", "height": 1}', type=Tide)
        problem = ""
    except ms.ValidationError as error:
        problem = str(error)
    return [packed, len(text), problem, ms.to_builtins(tides[5])]


def sqlalchemy(seed: int) -> list[Any]:
    """Its compiled parts over sqlite3: tables, the ORM, a transaction rolled back."""
    from sqlalchemy import Column, Float, ForeignKey, Integer, String, create_engine, event, func, select
    from sqlalchemy.exc import IntegrityError
    from sqlalchemy.orm import DeclarativeBase, Session, relationship

    class Base(DeclarativeBase):
        pass

    class Island(Base):
        __tablename__ = "island"
        id = Column(Integer, primary_key=True)
        name = Column(String(40), unique=True)
        boats = relationship("Boat", back_populates="island")

    class Boat(Base):
        __tablename__ = "boat"
        id = Column(Integer, primary_key=True)
        length = Column(Float)
        island_id = Column(ForeignKey("island.id"))
        island = relationship("Island", back_populates="boats")

    engine = create_engine("sqlite://")
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2].split()[0]))
    Base.metadata.create_all(engine)
    problem = ""
    with Session(engine) as session:
        for number in range(30):
            boats = [Boat(length=float(size + seed)) for size in range(number % 4)]
            session.add(Island(name=f"island {number}", boats=boats))
        session.commit()
        try:
            session.add(Island(name="island 1"))
            session.commit()
        except IntegrityError as error:
            session.rollback()
            problem = str(error.orig)
        query = select(Island.name, func.sum(Boat.length)).join(Boat).group_by(Island.name).order_by(Island.name)
        rows = [tuple(row) for row in session.execute(query)]
        fleet = {island.name: len(island.boats) for island in session.scalars(select(Island))}
    engine.dispose()
    return [rows, fleet, problem, sorted(set(statements))]


def matplotlib(seed: int) -> list[Any]:
    """A figure drawn by Agg: lines, text, images, a colour bar; PNG and SVG."""
    import matplotlib as mpl

    mpl.use("agg")
    import hashlib

    import matplotlib.pyplot as plt
    import numpy as np

    random = np.random.default_rng(seed)
    figure, (left, right) = plt.subplots(1, 2, figsize=(5, 2.5), dpi=80)
    left.plot(np.sin(np.linspace(0, 6, 200)) * random.random(200), label="$\\sin(x)$")
    left.set_title(f"tide {seed}")
    left.legend()
    figure.colorbar(right.imshow(random.random((20, 20)), cmap="viridis"))
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())
    vector = io.StringIO()
    figure.savefig(vector, format="svg", metadata={"Date": None})
    plt.close(figure)
    return [list(pixels.shape), hashlib.sha256(pixels.tobytes()).hexdigest(), "</svg>" in vector.getvalue()]


WORKLOADS: dict[str, Workload] = {
    "numpy": numpy,
    "pandas": pandas,
    "pydantic": pydantic,
    "orjson": orjson,
    "polars": polars,
    "pyarrow": pyarrow,
    "scipy": scipy,
    "scikit-learn": sklearn,
    "lxml": lxml,
    "Pillow": pillow,
    "cryptography": cryptography,
    "msgspec": msgspec,
    "SQLAlchemy": sqlalchemy,
    "matplotlib": matplotlib,
}
"""By the name of the distribution, as the extra `packages` of pyproject.toml has it."""


def same(left: Any, right: Any) -> bool:
    """Whether two results are equal, floats to within rounding: BLAS may sum in another order with other threads."""
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-7, abs_tol=1e-9)
    if type(left) is not type(right):
        return False
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)
