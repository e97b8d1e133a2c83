package main

import (
	"fmt"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// repairs mends, as objects come and change, what the simulator leaves unlike a vCenter.
type repairs struct {
	types.ManagedObjectReference
}

func repair(registry *simulator.Registry) {
	mend := &repairs{types.ManagedObjectReference{Type: "LabRepairs", Value: "lab-repairs"}}
	registry.AddHandler(mend)
}

// PutObject gives two required enums a value: since v0.53 the simulator sends them empty, and pyVmomi
// then cannot read vm.runtime or vm.summary at all.
func (*repairs) PutObject(_ *simulator.Context, object mo.Reference) {
	vm, ok := object.(*simulator.VirtualMachine)
	if !ok {
		return
	}
	for _, runtime := range []*types.VirtualMachineRuntimeInfo{&vm.Runtime} {
		if runtime.FaultToleranceState == "" {
			runtime.FaultToleranceState = types.VirtualMachineFaultToleranceStateNotConfigured
		}
		if runtime.RecordReplayState == "" {
			runtime.RecordReplayState = types.VirtualMachineRecordReplayStateInactive
		}
	}
	if vm.Summary.Runtime.FaultToleranceState == "" {
		vm.Summary.Runtime.FaultToleranceState = types.VirtualMachineFaultToleranceStateNotConfigured
	}
	if vm.Summary.Runtime.RecordReplayState == "" {
		vm.Summary.Runtime.RecordReplayState = types.VirtualMachineRecordReplayStateInactive
	}
}

// UpdateObject forgets what a guest said of itself once its VM is off: nothing may wait for an address
// and be given the one from before.
func (*repairs) UpdateObject(ctx *simulator.Context, object mo.Reference, changes []types.PropertyChange) {
	vm, ok := object.(*mo.VirtualMachine)
	if !ok || vm.Guest == nil || !turnsOff(changes) {
		return
	}
	nics := make([]types.GuestNicInfo, len(vm.Guest.Net))
	for i, nic := range vm.Guest.Net {
		nic.IpAddress = nil
		nics[i] = nic
	}
	ctx.Update(vm, []types.PropertyChange{
		{Name: "guest.ipAddress", Val: ""},
		{Name: "guest.net", Val: nics},
		{Name: "guest.toolsRunningStatus", Val: string(types.VirtualMachineToolsRunningStatusGuestToolsNotRunning)},
		{Name: "guest.guestState", Val: string(types.VirtualMachineGuestStateNotRunning)},
		{Name: "summary.guest.ipAddress", Val: ""},
	})
}

// RemoveObject has nothing to mend.
func (*repairs) RemoveObject(*simulator.Context, types.ManagedObjectReference) {}

func turnsOff(changes []types.PropertyChange) bool {
	for _, change := range changes {
		if change.Name == "runtime.powerState" {
			state, ok := change.Val.(types.VirtualMachinePowerState)
			return ok && state == types.VirtualMachinePowerStatePoweredOff
		}
	}
	return false
}

var born atomic.Uint32

// giveUUID names a VM that is about to be made, if its maker did not. The simulator makes a MAC address
// of the UUID's last three characters, so those count up: two VMs never share an address by chance.
func giveUUID(spec *types.VirtualMachineConfigSpec) {
	if spec.Uuid == "" {
		made := uuid.New().String()
		spec.Uuid = made[:len(made)-3] + fmt.Sprintf("%03x", born.Add(1)&0xfff)
	}
}
