"""Text that has broken somebody's table, page or log."""

# Names of files: what a file system can have, no slash and no null character.
HOSTILE_NAMES = (
    *("a\rb", "a\nb", "a\r\nb", "\r", "\n", "\t", "\x0b\x0c\x1c\x1d\x1e\x85", "\u2028", "\u2029"),
    *('a"b', '"', '""', '"a"', "'", "a,b", ",", "a;b", "#a", "\\", "\\n", "a|b", "`a`"),
    *("=1+1", "+1", "-1", "-h", "--help", "@a", "=HYPERLINK(1)", "%s", "{x}", "{{ x }}", "$(x)"),
    *("NA", "N", "nan", "NaN", "null", "None", "True", "1e5", "001", "1.0", "-0", "inf", "0x10"),
    *(" a", "a ", " ", "a  b", "\xa0", "\ufeffa", "\u200b", "\x1b[31m", "\x7f", "\x08"),
    *("<script>alert(1)<", "<img src=x onerror=alert(1)>", "&lt;", "&", "]]>", "<!--", '"><b>'),
    *("é", "e\u0301", "肺", "\u05d0", "\u202egnp", "\u200fa", "\u2066a", "😀", "👨\u200d⚕\ufe0f"),
)
# Text of any origin: of patients, of provenance.
HOSTILE_TEXTS = (*HOSTILE_NAMES, "", "\0", "a\0b", "</script>", "a/b", "x" * 5000)
