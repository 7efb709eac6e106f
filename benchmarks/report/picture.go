package report

import (
	"bytes"
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/logistically/events/benchmarks/harness"
)

// picture is an SVG of a family, or of a series of it when axis is set.
type picture struct {
	measure, axis string
	path          string // relative to REPORT.md, with slashes
	alt           string
	svg           []byte
}

var (
	ink   = color.RGBA{0x24, 0x29, 0x2f, 0xff}
	faint = color.RGBA{0x6e, 0x77, 0x81, 0xff}
	grid  = color.RGBA{0xe4, 0xe7, 0xeb, 0xff}
)

// shades are the colours of a kind: bars use the first, lines of several
// contestants take turns. No meaning hangs on red against green.
var shades = map[harness.Kind][]color.Color{
	harness.Ours:    {rgb(0x1f6feb), rgb(0x0a9396), rgb(0x6f42c1), rgb(0x54aeff)},
	harness.Peer:    {rgb(0xd9822b), rgb(0xb3261e), rgb(0xbf8700), rgb(0x8a4b0f), rgb(0xd63384)},
	harness.Ceiling: {rgb(0x8c959f), rgb(0x57606a), rgb(0xafb8c1)},
	"unknown":       {rgb(0x9a6fb0)},
}

func rgb(v uint32) color.Color {
	return color.RGBA{uint8(v >> 16), uint8(v >> 8), uint8(v), 0xff}
}

// shade is the n-th colour of a kind, from 0.
func shade(kind harness.Kind, n int) color.Color {
	of, ok := shades[kind]
	if !ok {
		of = shades["unknown"]
	}
	return of[n%len(of)]
}

// bold700 is WeightBold of golang.org/x/image/font, the one heavy face that there
// is: the widths of another weight would be those of the regular face.
const bold700 = 3

// letters is a style of text. The typeface has the widths of Arial, by which
// text is laid out.
func letters(size float64, c color.Color, bold bool) draw.TextStyle {
	face := font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(size)}
	if bold {
		face.Weight = bold700
	}
	return draw.TextStyle{Color: c, Font: face, Handler: plot.DefaultTextHandler}
}

// fit shortens a text to a width.
func fit(text string, style draw.TextStyle, width vg.Length) string {
	if style.Width(text) <= width {
		return text
	}
	runes := []rune(text)
	for len(runes) > 0 && style.Width(string(runes)+"…") > width {
		runes = runes[:len(runes)-1]
	}
	return string(runes) + "…"
}

// canvas is white, so that the picture can be read on a dark page, too.
func canvas(width, height vg.Length) (*vgsvg.Canvas, draw.Canvas) {
	svg := vgsvg.New(width, height)
	c := draw.New(svg)
	c.FillPolygon(color.White, []vg.Point{
		{X: 0, Y: 0}, {X: width, Y: 0}, {X: width, Y: height}, {X: 0, Y: height},
	})
	return svg, c
}

// encode returns the SVG. Pages that show it as an image have no Liberation
// fonts, so it names others of the same widths.
func encode(svg *vgsvg.Canvas) ([]byte, error) {
	var out bytes.Buffer
	if _, err := svg.WriteTo(&out); err != nil {
		return nil, fmt.Errorf("encode SVG: %w", err)
	}
	return bytes.ReplaceAll(out.Bytes(),
		[]byte("font-family:Liberation Sans;font-variant:normal"),
		[]byte("font-family:'Liberation Sans',Arial,Helvetica,sans-serif")), nil
}
