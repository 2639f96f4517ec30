"""A text that stands for itself in a cell of Markdown, in LaTeX and in HTML."""

import html
import re

# Letters that stand raised beside a number, as Unicode has them: a text of plain characters is
# readable in every format, and those that can set a real superscript do.
RAISED = dict(zip("abcdefghijklmnoprstuvwxyz", "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ", strict=True))
LOWERED = {raised: letter for letter, raised in RAISED.items()}
SUPERSCRIPT = re.compile(f"[{''.join(LOWERED)}]+")
LATEX = {
    **{"\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%"},
    **{"#": r"\#", "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''"},
    **{"`": r"\textasciigrave{}", "“": "``", "”": "''", "‘": "`", "’": "'"},
    # braces: after \\ or a rule, a bracket or an asterisk would be taken for an argument
    **{"[": "{[}", "]": "{]}", "*": "{*}"},
    **{"–": "--", "—": "---", "−": "$-$", "×": r"$\times$", "±": r"$\pm$", "·": r"$\cdot$"},
    **{"≥": r"$\geq$", "≤": r"$\leq$", "≈": r"$\approx$", "→": r"$\rightarrow$"},
    **{"ρ": r"$\rho$", "α": r"$\alpha$", "β": r"$\beta$", "λ": r"$\lambda$", "σ": r"$\sigma$"},
    **{"Δ": r"$\Delta$", "µ": r"$\mu$", "μ": r"$\mu$", "°": r"$^{\circ}$", "…": r"\ldots{}"},
    **{"®": r"\textregistered{}", "™": r"\texttrademark{}", "©": r"\textcopyright{}"},
    **{"²": r"\textsuperscript{2}", "³": r"\textsuperscript{3}", "″": "$''$"},
    **{"\N{NO-BREAK SPACE}": "~", "\N{NARROW NO-BREAK SPACE}": r"\,", "\N{THIN SPACE}": r"\,"},
}


def markdown(text: str) -> str:
    """A text that stands for itself in a cell of a Markdown table."""
    escaped = re.sub(r"([\\`*_|<>~$&#])", r"\\\1", " ".join(text.split()))
    return escaped.replace("](", r"]\(")  # brackets alone are no link


def latex(text: str) -> str:
    """A text that stands for itself in LaTeX.

    Signs of `LATEX` become commands, Latin letters stay, and of any other character that a usual
    font may lack the code point is shown (``{[}U+2603{]}``), so that it stops no run and is seen.
    """
    plain = re.sub(r"[\x00-\x1f\x7f]+", " ", text)
    # twice the same of these three would be drawn as one other sign
    apart = ["{}" * (a == b and a in "-',") for a, b in zip(" " + plain, plain, strict=False)]
    return "".join(gap + _latex(character) for gap, character in zip(apart, plain, strict=True))


def _latex(character: str) -> str:
    if character in LOWERED:
        return rf"\textsuperscript{{{LOWERED[character]}}}"
    if character in LATEX or character.isascii() or (character.isalpha() and character < "ƀ"):
        return LATEX.get(character, character)
    return f"{{[}}U+{ord(character):04X}{{]}}"


def markup(text: str) -> str:
    """A text that stands for itself in HTML; raised letters are superscripts."""

    def superscript(found: re.Match) -> str:
        return f"<sup>{''.join(LOWERED[letter] for letter in found[0])}</sup>"

    return SUPERSCRIPT.sub(superscript, html.escape(text))
