package main

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// faultKinds are the faults a rule may name. The simulator's own injector makes some of them too, but with
// a SystemErrorFault inside, which is the name of an XML element and not of a type: pyVmomi cannot read it.
var faultKinds = map[string]func(*simulator.Method) types.BaseMethodFault{
	"SystemError":     func(*simulator.Method) types.BaseMethodFault { return new(types.SystemError) },
	"InvalidArgument": func(*simulator.Method) types.BaseMethodFault { return new(types.InvalidArgument) },
	"InvalidState":    func(*simulator.Method) types.BaseMethodFault { return new(types.InvalidState) },
	"ResourceInUse":   func(*simulator.Method) types.BaseMethodFault { return new(types.ResourceInUse) },
	"VimFault":        func(*simulator.Method) types.BaseMethodFault { return new(types.VimFault) },
	"NotAuthenticated": func(m *simulator.Method) types.BaseMethodFault {
		return &types.NotAuthenticated{NoPermission: types.NoPermission{Object: &m.This, PrivilegeId: "System.View"}}
	},
	"NoPermission": func(m *simulator.Method) types.BaseMethodFault {
		return &types.NoPermission{Object: &m.This, PrivilegeId: "System.Modify"}
	},
	"MethodNotFound": func(m *simulator.Method) types.BaseMethodFault {
		return &types.MethodNotFound{Receiver: m.This, Method: m.Name}
	},
	"ManagedObjectNotFound": func(m *simulator.Method) types.BaseMethodFault {
		return &types.ManagedObjectNotFound{Obj: m.This}
	},
	"InsufficientResourcesFault": func(*simulator.Method) types.BaseMethodFault { return new(types.InsufficientResourcesFault) },
	"FileAlreadyExists":          func(*simulator.Method) types.BaseMethodFault { return new(types.FileAlreadyExists) },
	"HostNotConnected":           func(*simulator.Method) types.BaseMethodFault { return new(types.HostNotConnected) },
	"NoDiskSpace":                func(*simulator.Method) types.BaseMethodFault { return &types.NoDiskSpace{Datastore: "LocalDS_0"} },
	"TaskInProgress":             func(m *simulator.Method) types.BaseMethodFault { return &types.TaskInProgress{Task: m.This} },
	"Timedout":                   func(*simulator.Method) types.BaseMethodFault { return new(types.Timedout) },
	"RequestCanceled":            func(*simulator.Method) types.BaseMethodFault { return new(types.RequestCanceled) },
}

func faultNames() []string { return slices.Sorted(maps.Keys(faultKinds)) }

// fault makes the fault a rule names, SystemError when it names none.
func (r *rule) fault(method *simulator.Method) types.BaseMethodFault {
	kind, message := r.Fault, r.Message
	if kind == "" {
		kind = "SystemError"
	}
	if message == "" {
		message = "made by a fault rule of the lab"
	}
	fault := faultKinds[kind](method)
	fault.GetMethodFault().FaultMessage = []types.LocalizableMessage{{Key: "lab.rule", Message: message}}
	return fault
}

// intercept sees each call before the simulator does (simulator.Registry.Handler): it may refuse it, or
// send it to a stand-in that answers with a task of its own.
func (b *rulebook) intercept(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	switch body := method.Body.(type) {
	case *types.CloneVM_Task:
		if body.Spec.Config == nil {
			body.Spec.Config = new(types.VirtualMachineConfigSpec)
		}
		giveUUID(body.Spec.Config)
	case *types.CreateVM_Task:
		giveUUID(&body.Config)
	case *types.RebootGuest:
		defer b.bootAgain(ctx, method.This)
	}
	if b.isExempt(ctx, method) {
		return nil, nil
	}
	r := b.decide(method.Name, method.This, false)
	if r == nil {
		return nil, nil
	}
	switch r.Outcome {
	case outcomeTaskDelay, outcomeTaskFault, outcomeTaskLate:
		method.This = b.standIn(r, method)
		return nil, nil
	case outcomeFault:
		time.Sleep(r.delay())
		return nil, r.fault(method)
	default:
		time.Sleep(r.delay())
		return nil, nil
	}
}

// bootAgain gives a VM a new boot time, by which the hypervisor knows that its guest is to be restarted; the
// simulator itself answers RebootGuest and does nothing.
func (b *rulebook) bootAgain(ctx *simulator.Context, reference types.ManagedObjectReference) {
	vm, ok := b.registry.Get(reference).(*simulator.VirtualMachine)
	if !ok {
		return
	}
	ctx.WithLock(vm, func() {
		running := string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)
		if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn && vm.Guest.ToolsRunningStatus == running {
			ctx.Update(vm, []types.PropertyChange{{Name: "summary.runtime.bootTime", Val: time.Now()}})
		}
	})
}

func (b *rulebook) isExempt(ctx *simulator.Context, method *simulator.Method) bool {
	if login, ok := method.Body.(*types.Login); ok {
		return login.UserName == b.exempt
	}
	return ctx.Session != nil && ctx.Session.UserName == b.exempt
}

var standIns atomic.Uint64

// standIn puts an object into the registry that takes one call in the real object's place. It has a
// lock of its own, so a task that sleeps does not keep others from reading the real object.
func (b *rulebook) standIn(r *rule, method *simulator.Method) types.ManagedObjectReference {
	reference := types.ManagedObjectReference{
		Type:  "LabStandIn", // not the real object's: the simulator takes whatever has its type for one
		Value: "lab-stand-in-" + strconv.FormatUint(standIns.Add(1), 10),
	}
	copied := *method
	b.registry.Put(&standIn{EnvironmentBrowser: mo.EnvironmentBrowser{Self: reference}, rule: r, method: &copied})
	return reference
}

// A stand-in begins with some type of package mo: the simulator's searches by UUID look into every object
// of the registry and expect that. Which type is all the same.
type standIn struct {
	mo.EnvironmentBrowser
	rule   *rule
	method *simulator.Method
}

// run answers with a task that waits, then fails, or does the real work and hands on its result.
func (s *standIn) run(ctx *simulator.Context) types.ManagedObjectReference {
	name := strings.TrimSuffix(s.method.Name, "_Task")
	task := simulator.CreateTask(s, strings.ToLower(name[:1])+name[1:], func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		defer ctx.Map.Remove(ctx, s.Self)
		time.Sleep(s.rule.delay())
		if s.rule.Outcome == outcomeTaskFault {
			return nil, s.rule.fault(s.method)
		}
		result, fault := s.carryOut(ctx)
		if fault == nil && s.rule.Outcome == outcomeTaskLate {
			return nil, s.rule.fault(s.method)
		}
		return result, fault
	})
	reference := task.Run(ctx)
	ctx.Map.WithLock(ctx, task, func() {
		task.Info.Entity = &s.method.This // whom the task is about, now that its lock is the stand-in's
		task.Info.DescriptionId = strings.Replace(task.Info.DescriptionId, s.Self.Type, s.method.This.Type, 1)
		if entity, ok := ctx.Map.Get(s.method.This).(mo.Entity); ok {
			task.Info.EntityName = entity.Entity().Name
		}
	})
	return reference
}

func (s *standIn) carryOut(ctx *simulator.Context) (types.AnyType, types.BaseMethodFault) {
	object := ctx.Map.Get(s.method.This)
	if object == nil {
		return nil, &types.ManagedObjectNotFound{Obj: s.method.This}
	}
	inner := *ctx // locks are held by context: the real work takes its own
	call := reflect.ValueOf(object).MethodByName(strings.Replace(s.method.Name, "_Task", "Task", 1))
	var answer soap.HasFault
	ctx.Map.WithLock(&inner, object, func() {
		answer = call.Call([]reflect.Value{reflect.ValueOf(&inner), reflect.ValueOf(s.method.Body)})[0].Interface().(soap.HasFault)
	})
	if fault := answer.Fault(); fault != nil {
		return nil, fault.Detail.Fault.(types.BaseMethodFault)
	}
	reference := reflect.ValueOf(answer).Elem().FieldByName("Res").Elem().FieldByName("Returnval").Interface().(types.ManagedObjectReference)
	task := ctx.Map.Get(reference).(*simulator.Task)
	task.Wait()
	if task.Info.Error != nil {
		return nil, task.Info.Error.Fault
	}
	return task.Info.Result, nil
}

func (s *standIn) CloneVMTask(ctx *simulator.Context, _ *types.CloneVM_Task) soap.HasFault {
	return &methods.CloneVM_TaskBody{Res: &types.CloneVM_TaskResponse{Returnval: s.run(ctx)}}
}

func (s *standIn) CreateVMTask(ctx *simulator.Context, _ *types.CreateVM_Task) soap.HasFault {
	return &methods.CreateVM_TaskBody{Res: &types.CreateVM_TaskResponse{Returnval: s.run(ctx)}}
}

func (s *standIn) PowerOnVMTask(ctx *simulator.Context, _ *types.PowerOnVM_Task) soap.HasFault {
	return &methods.PowerOnVM_TaskBody{Res: &types.PowerOnVM_TaskResponse{Returnval: s.run(ctx)}}
}

func (s *standIn) PowerOffVMTask(ctx *simulator.Context, _ *types.PowerOffVM_Task) soap.HasFault {
	return &methods.PowerOffVM_TaskBody{Res: &types.PowerOffVM_TaskResponse{Returnval: s.run(ctx)}}
}

func (s *standIn) ResetVMTask(ctx *simulator.Context, _ *types.ResetVM_Task) soap.HasFault {
	return &methods.ResetVM_TaskBody{Res: &types.ResetVM_TaskResponse{Returnval: s.run(ctx)}}
}

func (s *standIn) ReconfigVMTask(ctx *simulator.Context, _ *types.ReconfigVM_Task) soap.HasFault {
	return &methods.ReconfigVM_TaskBody{Res: &types.ReconfigVM_TaskResponse{Returnval: s.run(ctx)}}
}

func (s *standIn) DestroyTask(ctx *simulator.Context, _ *types.Destroy_Task) soap.HasFault {
	return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{Returnval: s.run(ctx)}}
}
