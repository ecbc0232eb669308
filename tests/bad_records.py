"""Payloads that are no ticks, by what is wrong with them, each with words of the reason that the product gives."""

_JSON = '{"symbol":"A","price":1%s}'
_DEEP = "[" * 30_000 + "]" * 30_000

NOT_TICKS = {
    "empty": (b"", "truncated"),
    "not JSON": (b"quotes: none today", "malformed"),
    "cut off": (b'{"symbol":"A","price":1', "truncated"),
    "two objects": (b'{"symbol":"A","price":1}{"symbol":"A","price":1}', "trailing"),
    "trailing comma": (b'{"symbol":"A","price":1,}', "trailing comma"),
    "a byte order mark": (b'\xef\xbb\xbf{"symbol":"A","price":1}', "malformed"),
    "an array": (b"[1]", "Expected `object`, got `array`"),
    "null": (b"null", "Expected `object`, got `null`"),
    "a binary message": (bytes(range(256)), "utf-8"),
    "not UTF-8 in a field": (b'{"symbol":"A","price":1,"source":"\xff"}', "utf-8"),
    "not UTF-8 in an unknown field": (b'{"symbol":"A","price":1,"x":"\xc3("}', "utf-8"),
    "half a surrogate pair": (b'{"symbol":"A","price":1,"source":"\\ud800"}', ""),
    "nested too deeply": ((_JSON % f',"x":{_DEEP}').encode(), "nested too deeply"),
    "too large": (
        (_JSON % f',"x":"{"j" * 65_536}"').encode(),
        "bytes, more than 65536",
    ),
    "no symbol": (b'{"price":1}', "symbol"),
    "symbol null": (b'{"symbol":null,"price":1}', "symbol"),
    "symbol a number": (b'{"symbol":7,"price":1}', "symbol"),
    "symbol empty": (b'{"symbol":"","price":1}', "symbol"),
    "symbol of 33 characters": (b'{"symbol":"' + b"A" * 33 + b'","price":1}', "symbol"),
    "symbol with a colon": (b'{"symbol":"NYSE:LMT","price":1}', "symbol"),
    "symbol with a space": (b'{"symbol":"A ","price":1}', "symbol"),
    "symbol with a line break": (b'{"symbol":"A\\n","price":1}', "symbol"),
    "symbol in other letters": ('{"symbol":"ÄA","price":1}'.encode(), "symbol"),
    "symbol that folds to ASCII elsewhere": ('{"symbol":"ſ","price":1}'.encode(), "symbol"),
    "symbol a number, then nested too deeply": (f'{{"symbol":7,"x":{_DEEP}}}'.encode(), "symbol"),
    "symbol a number, then cut off": (b'{"symbol":7,"pri', "symbol"),
    "no price": (b'{"symbol":"A"}', "price"),
    "price null": (b'{"symbol":"A","price":null}', "price"),
    "price a text": (b'{"symbol":"A","price":"1"}', "price"),
    "price a boolean": (b'{"symbol":"A","price":true}', "price"),
    "price NaN": (b'{"symbol":"A","price":NaN}', "price is NaN"),
    "price infinite": (b'{"symbol":"A","price":Infinity}', "price is Infinity"),
    "open infinite": (b'{"symbol":"A","price":1,"open": -Infinity}', "open is -Infinity"),
    "an unknown field NaN": (b'{"symbol":"A","price":1,"x":{"y" :NaN}}', "y is NaN"),
    "price beyond doubles": (b'{"symbol":"A","price":1e400}', "price"),
    "price 0": (b'{"symbol":"A","price":0}', "price"),
    "price negative": (b'{"symbol":"A","price":-43.58}', "price"),
    "price that rounds to 0": (b'{"symbol":"A","price":5e-10}', "price"),
    "price at the limit": (b'{"symbol":"A","price":9200000000}', "price"),
    "price that rounds to the limit": (b'{"symbol":"A","price":9199999999.9999999996}', "price"),
    "price absurd": (b'{"symbol":"A","price":1e18}', "price"),
    "open negative": (b'{"symbol":"A","price":1,"open":-1}', "price"),
    "high a text": (b'{"symbol":"A","price":1,"high":"x"}', "high"),
    "low an object": (b'{"symbol":"A","price":1,"low":{}}', "low"),
    "previous_close negative": (b'{"symbol":"A","price":1,"previous_close":-0.01}', "price"),
    "volume negative": (b'{"symbol":"A","price":1,"volume":-0.1}', "volume"),
    "volume a text": (b'{"symbol":"A","price":1,"volume":"1"}', "volume"),
    "volume of 2**63": (b'{"symbol":"A","price":1,"volume":9223372036854775808}', "volume"),
    "volume that rounds to 2**63": (b'{"symbol":"A","price":1,"volume":9223372036854775807.5}', "volume"),
    "volume of 5,000 digits": (b'{"symbol":"A","price":1,"volume":' + b"9" * 5000 + b"}", "volume"),
    "source of 65 characters": (b'{"symbol":"A","price":1,"source":"' + b"x" * 65 + b'"}', "source"),
    "source a number": (b'{"symbol":"A","price":1,"source":1}', "source"),
    **{
        f"timestamp a number, {number}": (
            f'{{"symbol":"A","price":1,"timestamp": {number} }}'.encode(),
            f"timestamp is not ISO 8601: the number {number} is an epoch or digits only",
        )
        for number in ("1689000000", "1741014000000", "1741014000.5", "1.741e12", "20230710", "0", "-1")
    },
    **{
        f"timestamp of digits, {digits}": (
            f'{{"symbol":"A","price":1,"timestamp":"{digits}"}}'.encode(),
            f"timestamp is not ISO 8601: '{digits}' is an epoch or digits only",
        )
        for digits in (
            "2023",
            "202307",
            "20230710",
            "1701010112",
            "1741014000",
            "17410140",
            "1741014000000",
            "1701010112000000",
            "1741014000000000000",
            "1741014000.25",
            "-1741014000",
            "٢٠٢٣٠٧١٠",
        )
    },
    "timestamp a boolean": (b'{"symbol":"A","price":1,"timestamp":true}', "it is true"),
    "timestamp an object": (b'{"symbol":"A","price":1,"timestamp":{"$date":1}}', 'it is {"$date":1}'),
    "timestamp empty": (b'{"symbol":"A","price":1,"timestamp":""}', "timestamp is not ISO 8601: ''"),
    "timestamp in words": (b'{"symbol":"A","price":1,"timestamp":"now"}', "timestamp is not ISO 8601: 'now'"),
    "timestamp too long to show": (
        b'{"symbol":"A","price":1,"timestamp":"' + b"tomorrow " * 50 + b'"}',
        "'tomorrow tomorrow tomorrow tomorrow tom...",
    ),
    "timestamp that does not exist": (
        b'{"symbol":"A","price":1,"timestamp":"2023-02-29T00:00:00Z"}',
        "timestamp is not ISO 8601",
    ),
    "timestamp before the year 1 in UTC": (
        b'{"symbol":"A","price":1,"timestamp":"0001-01-01T00:00:00+01:00"}',
        "timestamp is not ISO 8601",
    ),
    "timestamp from the future": (
        b'{"symbol":"A","price":1,"timestamp":"2123-07-10T00:00:00Z"}',
        "timestamp is more than 300 s after the record's arrival",
    ),
}
