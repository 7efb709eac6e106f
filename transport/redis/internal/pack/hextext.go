package pack

import "encoding/binary"

// hexOf returns the lowercase hex digits of 4 bytes, the first ones lowest, as v has
// them: eight at a time, which is several times as fast as one by one.
func hexOf(v uint32) uint64 {
	x := uint64(v)
	x = (x | x<<16) & 0x0000ffff0000ffff
	x = (x | x<<8) & 0x00ff00ff00ff00ff                   // a byte in two
	x = x>>4&0x000f000f000f000f | x&0x000f000f000f000f<<8 // its halves, the higher one first
	letters := (x + 0x0606060606060606) >> 4 & 0x0101010101010101
	return x + 0x3030303030303030 + letters*('a'-'0'-10)
}

// appendHexText appends bytes as lowercase hex.
func appendHexText(b, bytes []byte) []byte {
	for ; len(bytes) >= 4; bytes = bytes[4:] {
		b = binary.LittleEndian.AppendUint64(b, hexOf(binary.LittleEndian.Uint32(bytes)))
	}
	for _, c := range bytes {
		b = binary.LittleEndian.AppendUint16(b, uint16(hexOf(uint32(c))))
	}
	return b
}

// appendUUIDText appends the text of the UUID of 16 bytes.
func appendUUIDText(b, id []byte) []byte {
	one, two := hexOf(binary.LittleEndian.Uint32(id)), hexOf(binary.LittleEndian.Uint32(id[4:]))
	three, four := hexOf(binary.LittleEndian.Uint32(id[8:])), hexOf(binary.LittleEndian.Uint32(id[12:]))
	b = append(binary.LittleEndian.AppendUint64(b, one), '-')
	b = append(binary.LittleEndian.AppendUint32(b, uint32(two)), '-')
	b = append(binary.LittleEndian.AppendUint32(b, uint32(two>>32)), '-')
	b = append(binary.LittleEndian.AppendUint32(b, uint32(three)), '-')
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint32(b, uint32(three>>32)), four)
}
