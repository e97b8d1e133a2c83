package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/yamux"
)

// The profile's limits of what begins a stream.
const (
	largestPreamble = 4096
	largestReply    = 1024
)

// An order is one line of the test's: what to do, to which stream, how much.
type order struct {
	ID       int     `json:"id"`
	Do       string  `json:"do"`
	Stream   uint32  `json:"stream"`
	Preamble *string `json:"preamble"`
	Bytes    int64   `json:"bytes"`
	Piece    int     `json:"piece"`
}

type peer struct {
	session *yamux.Session
	lock    sync.Mutex
	streams map[uint32]*yamux.Stream
	let     chan struct{}
	once    sync.Once
	over    chan struct{}
	why     error
}

func newPeer(session *yamux.Session) *peer {
	return &peer{session: session, streams: map[uint32]*yamux.Stream{}, let: make(chan struct{}), over: make(chan struct{})}
}

func (p *peer) carryOut(order order) (map[string]any, error) {
	switch order.Do {
	case "open":
		return p.open(order.Preamble)
	case "send":
		digest, err := send(p.stream(order.Stream), order.Bytes, order.Piece)
		return map[string]any{"sha256": digest}, err
	case "receive":
		return receive(p.stream(order.Stream), order.Bytes)
	case "read-text":
		text, err := io.ReadAll(io.LimitReader(p.stream(order.Stream), 64*1024))
		return map[string]any{"text": string(text)}, err
	case "finish":
		return nil, p.stream(order.Stream).Close()
	case "ping":
		took, err := p.session.Ping()
		return map[string]any{"seconds": took.Seconds()}, err
	case "go-away":
		return nil, p.session.GoAway()
	case "streams":
		return map[string]any{"count": p.session.NumStreams()}, nil
	case "let-read":
		p.once.Do(func() { close(p.let) })
		return nil, nil
	case "wait-closed":
		<-p.over
		return map[string]any{"why": p.why.Error()}, nil
	}
	return nil, fmt.Errorf("do not know how to %q", order.Do)
}

func (p *peer) stream(id uint32) *yamux.Stream {
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.streams[id]
}

// open opens a stream; without a preamble it breaks the profile on purpose and waits for no reply.
func (p *peer) open(preamble *string) (map[string]any, error) {
	stream, err := p.openInOrder()
	if err != nil {
		return nil, err
	}
	answer := map[string]any{"stream": stream.StreamID()}
	if preamble == nil {
		return answer, nil
	}
	if err := writePrefixed(stream, []byte(*preamble)); err != nil {
		return answer, err
	}
	reply, err := readPrefixed(stream, largestReply)
	answer["reply"] = string(reply)
	return answer, err
}

// openInOrder opens one stream at a time. hashicorp/yamux takes the next id and sends SYN in two steps, so that of two
// goroutines the one with the higher id may be first; the profile asks for ids that rise.
func (p *peer) openInOrder() (*yamux.Stream, error) {
	p.lock.Lock()
	defer p.lock.Unlock()
	stream, err := p.session.OpenStream()
	if err == nil {
		p.streams[stream.StreamID()] = stream
	}
	return stream, err
}

// serve carries out what the preamble of each stream that the other end opens asks for.
func (p *peer) serve() {
	for {
		stream, err := p.session.AcceptStream()
		if err != nil {
			p.why = err
			close(p.over)
			return
		}
		go p.served(stream)
	}
}

func (p *peer) served(stream *yamux.Stream) {
	defer stream.Close()
	text, err := readPrefixed(stream, largestPreamble)
	if err != nil {
		return
	}
	var wanted order
	if json.Unmarshal(text, &wanted) != nil {
		return
	}
	if wanted.Do == "babble" { // a reply over the limit, on purpose
		_, _ = stream.Write([]byte{0xFF, 0xFF, 0})
		_, _ = receive(stream, -1)
		return
	}
	if writePrefixed(stream, []byte("ok "+wanted.Do)) != nil {
		return
	}
	switch wanted.Do {
	case "echo":
		buffer := make([]byte, 32*1024)
		for {
			count, err := stream.Read(buffer)
			if _, failed := stream.Write(buffer[:count]); err != nil || failed != nil {
				return
			}
		}
	case "source":
		_, _ = send(stream, wanted.Bytes, wanted.Piece)
	case "sink", "slow":
		if wanted.Do == "slow" {
			<-p.let
		}
		told, _ := receive(stream, -1)
		line, _ := json.Marshal(told)
		_, _ = stream.Write(line)
	case "farewell":
		_, _ = send(stream, wanted.Bytes, wanted.Piece)
		_ = stream.Close()
		_, _ = receive(stream, -1)
	}
}

// send writes bytes of the common pattern in pieces; the size of a piece bounds the size of a frame.
func send(stream *yamux.Stream, bytes int64, piece int) (string, error) {
	if piece == 0 {
		piece = 64 * 1024
	}
	digest := sha256.New()
	for sent := int64(0); sent < bytes; {
		chunk := pattern(sent, min(int64(piece), bytes-sent))
		digest.Write(chunk)
		if _, err := stream.Write(chunk); err != nil {
			return "", err
		}
		sent += int64(len(chunk))
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
}

// receive reads up to a number of bytes (-1: all) and tells how it ended: "more", "end" or "reset".
func receive(stream *yamux.Stream, bytes int64) (map[string]any, error) {
	digest, count, ended := sha256.New(), int64(0), "more"
	buffer := make([]byte, 64*1024)
	for bytes < 0 || count < bytes {
		room := buffer
		if bytes >= 0 {
			room = buffer[:min(int64(len(buffer)), bytes-count)]
		}
		got, err := stream.Read(room)
		digest.Write(room[:got])
		count += int64(got)
		if err == io.EOF {
			ended = "end"
			break
		}
		if errors.Is(err, yamux.ErrConnectionReset) {
			ended = "reset"
			break
		}
		if err != nil {
			return nil, err
		}
	}
	return map[string]any{"count": count, "sha256": hex.EncodeToString(digest.Sum(nil)), "ended": ended}, nil
}

// pattern is the common test material: byte i is i mod 251, so that a lost or doubled piece moves every later byte.
func pattern(from, count int64) []byte {
	made := make([]byte, count)
	for index := range made {
		made[index] = byte((from + int64(index)) % 251)
	}
	return made
}

func writePrefixed(stream io.Writer, text []byte) error {
	framed := binary.BigEndian.AppendUint16(nil, uint16(len(text)))
	_, err := stream.Write(append(framed, text...))
	return err
}

func readPrefixed(stream io.Reader, limit int) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(stream, length[:]); err != nil {
		return nil, err
	}
	count := int(binary.BigEndian.Uint16(length[:]))
	if count > limit {
		return nil, fmt.Errorf("%d bytes where %d are allowed", count, limit)
	}
	text := make([]byte, count)
	_, err := io.ReadFull(stream, text)
	return text, err
}
