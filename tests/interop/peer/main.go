// This program is the other end of a data session: hashicorp/yamux over a WebSocket, in either role.
//
// It is told what to do in JSON lines on its standard input and answers each with one JSON line that has the same
// "id", so that a test in another language can hold both ends. Answers may come in another order than the questions.
//
//	peer listen -certificate C -key K -trust T          says {"port": N} first; takes one session
//	peer dial   -certificate C -key K -trust T -url U   says {"connected": true} first
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/hashicorp/yamux"
)

const (
	subprotocol = "pcg.yamux.v1"
	openLimit   = 20 * time.Second
)

type settings struct {
	certificate, key, trust, url, subprotocol string
	closeTimeout                              time.Duration
	window                                    uint
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("say: peer listen|dial …")
	}
	var told settings
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	flags.StringVar(&told.certificate, "certificate", "", "PEM file with the leaf and its chain")
	flags.StringVar(&told.key, "key", "", "PEM file with the leaf's key")
	flags.StringVar(&told.trust, "trust", "", "PEM file with the authority of the other end")
	flags.StringVar(&told.url, "url", "", "where to dial, wss://…")
	flags.StringVar(&told.subprotocol, "subprotocol", subprotocol, "what to offer or to accept")
	flags.DurationVar(&told.closeTimeout, "close-timeout", time.Minute, "a half-closed stream is reset after this")
	flags.UintVar(&told.window, "window", 256*1024, "receive window of a stream in bytes")
	_ = flags.Parse(os.Args[2:])

	answers := &answers{encoder: json.NewEncoder(os.Stdout)}
	session, err := connect(os.Args[1], told, answers)
	if err != nil {
		answers.say(map[string]any{"error": err.Error()})
		os.Exit(1)
	}
	peer := newPeer(session)
	go peer.serve()
	obey(peer, answers)
	_ = session.Close()
}

func connect(mode string, told settings, answers *answers) (*yamux.Session, error) {
	context, cancel := context.WithTimeout(context.Background(), openLimit)
	defer cancel()
	secure, err := secured(told)
	if err != nil {
		return nil, err
	}
	config := yamux.DefaultConfig()
	config.StreamCloseTimeout = told.closeTimeout
	config.MaxStreamWindowSize = uint32(told.window)
	if mode == "dial" {
		connection, err := dialled(context, told, secure)
		if err != nil {
			return nil, err
		}
		answers.say(map[string]any{"connected": true})
		return yamux.Client(connection, config)
	}
	connection, err := taken(context, told, secure, answers)
	if err != nil {
		return nil, err
	}
	return yamux.Server(connection, config)
}

func secured(told settings) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(told.certificate, told.key)
	if err != nil {
		return nil, err
	}
	trusted, err := os.ReadFile(told.trust)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(trusted) {
		return nil, errors.New("no certificate in " + told.trust)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{pair},
		RootCAs:      pool,
		ClientCAs:    pool,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		NextProtos:   []string{"http/1.1"},
	}, nil
}

func dialled(limit context.Context, told settings, secure *tls.Config) (net.Conn, error) {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: secure}}
	options := &websocket.DialOptions{HTTPClient: client, Subprotocols: []string{told.subprotocol}}
	connection, response, err := websocket.Dial(limit, told.url, options)
	if err != nil {
		if response != nil {
			return nil, fmt.Errorf("status %d: %w", response.StatusCode, err)
		}
		return nil, err
	}
	if connection.Subprotocol() != told.subprotocol {
		return nil, fmt.Errorf("the other end chose subprotocol %q", connection.Subprotocol())
	}
	return websocket.NetConn(context.Background(), connection, websocket.MessageBinary), nil
}

// taken waits for one WebSocket and turns every other away.
func taken(limit context.Context, told settings, secure *tls.Config, answers *answers) (net.Conn, error) {
	listener, err := tls.Listen("tcp", "127.0.0.1:0", secure)
	if err != nil {
		return nil, err
	}
	answers.say(map[string]any{"port": listener.Addr().(*net.TCPAddr).Port})
	arrived := make(chan net.Conn, 1)
	var first sync.Once
	handler := http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		mine := false
		first.Do(func() { mine = true })
		if !mine {
			http.Error(writer, "busy", http.StatusServiceUnavailable)
			return
		}
		options := &websocket.AcceptOptions{Subprotocols: []string{told.subprotocol}}
		connection, err := websocket.Accept(writer, request, options)
		if err == nil {
			arrived <- websocket.NetConn(context.Background(), connection, websocket.MessageBinary)
		}
	})
	go func() { _ = http.Serve(listener, handler) }()
	select {
	case connection := <-arrived:
		return connection, nil
	case <-limit.Done():
		return nil, errors.New("nobody called")
	}
}

type answers struct {
	lock    sync.Mutex
	encoder *json.Encoder
}

func (a *answers) say(what any) {
	a.lock.Lock()
	defer a.lock.Unlock()
	_ = a.encoder.Encode(what)
}

func obey(peer *peer, answers *answers) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var order order
		if err := json.Unmarshal(lines.Bytes(), &order); err != nil {
			log.Fatal(err)
		}
		go func() {
			answer, err := peer.carryOut(order)
			if answer == nil {
				answer = map[string]any{}
			}
			if err != nil {
				answer["error"] = err.Error()
			}
			answer["id"] = order.ID
			answers.say(answer)
		}()
	}
}
