"""Reads a Parquet file with Apache Arrow and prints, as JSON, what is in it: each column's type and values."""
import json
import sys

import pyarrow.parquet as parquet


def values(column):
    # Times as numbers since 1970: Python's own have a zone that depends on the machine.
    kind = str(column.type)
    if kind.startswith("timestamp"):
        column = column.cast("int64")
    if kind == "date32[day]":
        column = column.cast("int32")
    return [None if value is None else repr(value) for value in column.to_pylist()]


file = parquet.ParquetFile(sys.argv[1])
table = file.read()
columns = [[name, str(column.type), values(column)] for name, column in zip(table.column_names, table.columns)]
texts = [[value if isinstance(value, str) else None for value in column.to_pylist()] for column in table.columns]
print(json.dumps({"groups": file.metadata.num_row_groups, "columns": columns, "texts": texts}))
