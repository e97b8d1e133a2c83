// Command vcenter is the lab's vCenter: govmomi's simulator with a seeded inventory, a real password
// check, repairs for what pyVmomi cannot read, and rules that make calls slow, faulty or lost.
//
// It listens in three places, so that the lab's own eye is never hit by a rule meant for the product:
//
//	-listen      https, what everybody else calls vCenter; rules apply
//	-door        http on loopback, for the hypervisor; rules do not apply to sessions of -door-user
//	-control     unix socket, HTTP with JSON: the rules themselves
package main

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	_ "github.com/vmware/govmomi/pbm/simulator"
	_ "github.com/vmware/govmomi/vapi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

type options struct {
	listen, door, control    string
	user, password, doorUser string
	cert, key, apiVersion    string
	clusters, hosts, stores  int
	networks                 int
	template, passwordFile   string
}

func main() {
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:8989", "https address of vCenter")
	flag.StringVar(&o.door, "door", "", "http address for the hypervisor (loopback only)")
	flag.StringVar(&o.control, "control", "", "unix socket for fault rules")
	flag.StringVar(&o.user, "user", "administrator@vsphere.local", "the one user")
	flag.StringVar(&o.doorUser, "door-user", "hypervisor@lab", "user that no rule applies to; same password")
	flag.StringVar(&o.passwordFile, "password-file", "", "file that holds the password")
	flag.StringVar(&o.cert, "tls-cert", "", "PEM certificate")
	flag.StringVar(&o.key, "tls-key", "", "PEM key")
	flag.StringVar(&o.apiVersion, "api-version", "8.0.3.0", "vSphere API version to claim")
	flag.IntVar(&o.clusters, "clusters", 1, "clusters in the datacenter")
	flag.IntVar(&o.hosts, "hosts", 3, "hosts per cluster")
	flag.IntVar(&o.stores, "datastores", 1, "datastores")
	flag.IntVar(&o.networks, "networks", 1, "distributed port groups")
	flag.StringVar(&o.template, "template", "debian-12", "name of the VM template")
	flag.Parse()
	if err := serve(o); err != nil {
		log.Fatal(err)
	}
}

func serve(o options) error {
	password, err := os.ReadFile(o.passwordFile)
	if err != nil {
		return fmt.Errorf("read -password-file: %w", err)
	}
	o.password = strings.TrimSpace(string(password))
	certificate, err := tls.LoadX509KeyPair(o.cert, o.key)
	if err != nil {
		return fmt.Errorf("read -tls-cert and -tls-key: %w", err)
	}

	model := inventory(o)
	defer model.Remove()
	if err := model.Create(); err != nil {
		return fmt.Errorf("make the inventory: %w", err)
	}
	registry := model.Map()
	repair(registry)
	if err := seedTemplate(model, o.template); err != nil {
		return fmt.Errorf("make the template: %w", err)
	}

	book := &rulebook{registry: registry, exempt: o.doorUser}
	registry.Handler = book.intercept

	service := model.Service
	service.RegisterEndpoints = true
	service.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	service.Listen = &url.URL{Host: o.listen, User: url.UserPassword(o.user, o.password)}
	server := service.NewServer()
	defer server.Close()
	server.Config.Handler = book.onTheWire(server.Config.Handler)
	registry.SessionManager().ValidLogin = exactly(o)

	failed := make(chan error, 2)
	if o.door != "" {
		go listen(failed, "tcp", o.door, service.ServeMux)
	}
	if o.control != "" {
		_ = os.Remove(o.control)
		go listen(failed, "unix", o.control, book.control())
	}

	fmt.Println("vcenter: ready") // the supervisor waits for this line
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	select {
	case err := <-failed:
		return err
	case <-stop.Done():
		return nil
	}
}

func listen(failed chan<- error, network, address string, handler http.Handler) {
	listener, err := net.Listen(network, address)
	if err != nil {
		failed <- err
		return
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		failed <- err
	}
}

// exactly accepts the configured user and the hypervisor's, compared byte for byte. The simulator's own
// check splits "admin@vsphere.local" into user and domain and then never finds it again.
func exactly(o options) func(*types.Login) bool {
	return func(login *types.Login) bool {
		password := subtle.ConstantTimeCompare([]byte(login.Password), []byte(o.password)) == 1
		return password && (login.UserName == o.user || login.UserName == o.doorUser)
	}
}
