package main

import (
	"context"
	"fmt"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"
)

const templateDiskGiB = 20

// inventory is one datacenter, DC0, with clusters, hosts, datastores and networks, and no VM.
func inventory(o options) *simulator.Model {
	model := simulator.VPX()
	model.ServiceContent.About.ApiVersion = o.apiVersion
	model.Autostart = false
	model.Machine = 0
	model.Host = 0
	model.Cluster = o.clusters
	model.ClusterHost = o.hosts
	model.Datastore = o.stores
	model.Portgroup = o.networks
	return model
}

// seedTemplate makes the VM the product clones from: one disk, one vmxnet3 NIC on the first network.
func seedTemplate(model *simulator.Model, name string) error {
	ctx := context.Background()
	client, err := vim25.NewClient(ctx, model.Service)
	if err != nil {
		return err
	}
	finder := find.NewFinder(client, false)
	dc, err := finder.Datacenter(ctx, "DC0")
	if err != nil {
		return err
	}
	finder.SetDatacenter(dc)
	folders, err := dc.Folders(ctx)
	if err != nil {
		return err
	}
	pool, err := finder.ResourcePool(ctx, "DC0_C0/Resources")
	if err != nil {
		return err
	}
	devices, err := templateDevices(ctx, finder, name)
	if err != nil {
		return err
	}
	task, err := folders.VmFolder.CreateVM(ctx, types.VirtualMachineConfigSpec{
		Name:         name,
		GuestId:      string(types.VirtualMachineGuestOsIdentifierDebian12_64Guest),
		NumCPUs:      2,
		MemoryMB:     2048,
		Files:        &types.VirtualMachineFileInfo{VmPathName: "[LocalDS_0]"},
		DeviceChange: devices,
	}, pool, nil)
	if err != nil {
		return err
	}
	made, err := task.WaitForResult(ctx, nil)
	if err != nil {
		return err
	}
	reference := made.Result.(types.ManagedObjectReference)
	forgetAddress(model.Map().Get(reference).(*simulator.VirtualMachine))
	return object.NewVirtualMachine(client, reference).MarkAsTemplate(ctx)
}

func templateDevices(ctx context.Context, finder *find.Finder, name string) ([]types.BaseVirtualDeviceConfigSpec, error) {
	network, err := finder.Network(ctx, "DC0_DVPG0")
	if err != nil {
		return nil, err
	}
	backing, err := network.EthernetCardBackingInfo(ctx)
	if err != nil {
		return nil, err
	}
	var devices object.VirtualDeviceList
	scsi, err := devices.CreateSCSIController("pvscsi")
	if err != nil {
		return nil, err
	}
	nic, err := devices.CreateEthernetCard("vmxnet3", backing)
	if err != nil {
		return nil, err
	}
	disk := devices.CreateDisk(scsi.(types.BaseVirtualController), types.ManagedObjectReference{},
		fmt.Sprintf("[LocalDS_0] %s/disk1.vmdk", name))
	disk.CapacityInKB = templateDiskGiB << 20
	devices = append(devices, scsi, disk, nic)
	return devices.ConfigSpec(types.VirtualDeviceConfigSpecOperationAdd)
}

// forgetAddress takes the MAC off a template's NIC: the simulator copies it into every clone, where a
// real vCenter gives each clone its own.
func forgetAddress(vm *simulator.VirtualMachine) {
	for _, device := range vm.Config.Hardware.Device {
		if card, ok := device.(types.BaseVirtualEthernetCard); ok {
			card.GetVirtualEthernetCard().MacAddress = ""
		}
	}
	for i := range vm.Guest.Net {
		vm.Guest.Net[i].MacAddress = ""
	}
}
