"""Small programs of a hostile user of tensors: layouts, versions, ties, bounds, what is refused.

A row is statements joined by ``;;``, the last of them an expression. ``t`` makes a tensor of a
number, a list or an array (``dtype`` converts, ``grad=True`` asks for a gradient), ``ar`` counts,
``G`` is grad, ``W`` a weighted sum. Of a tensor its dtype, shape, strides, flag and values are
recorded, of an error its type and text.
"""

# ruff: noqa: E501 (one row of a table, one line)
from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import numpy as np

ROWS = """
x=t([1,2,3],grad=True);;y=x*1;;z=y.sin();;y.data.mul_(2);;z.sum().backward();;x.grad
x=t([1,2,3],grad=True);;y=x*1;;z=y.sin();;y.detach().mul_(2);;z.sum().backward()
x=t([1,2,3],grad=True);;w=x.data;;z=x*w;;w.add_(1);;z.sum().backward()
x=t([1,2,3]);;v=x[1:];;v.add_(1);;x[0]=2;;d=x.data;;d[1:].add_(1);;[x._version,v._version,d._version,d[:1]._version]
x=t([1,2,3],grad=True);;(x*x).sum().backward(inputs=[])
x=t([1,2,3],grad=True);;y=x*2;;y.requires_grad=True;;y
x=t([1,2,3],grad=True);;y=x*2;;y.requires_grad=False;;y
x=t([1,2,3],grad=True);;y=x*2;;y.retain_grad();;y.sum().backward();;[y.grad,y.retains_grad,x.retains_grad]
x=t([1,2,3],grad=True);;(x*2).backward(t([1,2]))
x=t([1,2,3],grad=True);;L.autograd.grad(x.sum(),[x,t([1],grad=True)])
x=t([1,2,3],grad=True);;L.autograd.backward([x*2,x*3],[t([1,1,1])])
x=t([1,2,3],grad=True);;y=x*2;;y.register_hook(lambda g:g[:2]);;y.sum().backward()
x=t([1,2,3],grad=True);;y=x*2;;y.register_hook(lambda g:3);;y.sum().backward()
t([1,2],'int64').requires_grad_()
t([1,2],'int64').add_(1.5)
t([True],'bool').sub(t([True],'bool'))
"a" in t([1])
x=t([1,2,3],grad=True);;b=x*1;;L.set_grad_enabled(False);;y=b[0:2];;L.set_grad_enabled(True);;y.mul_(2);;y.requires_grad
x=t([1,2,3],grad=True);;b=x*1;;L.set_grad_enabled(False);;y=b[0:2];;y.mul_(2);;L.set_grad_enabled(True);;G(W(b),x)
x=t([1,2,3],grad=True);;l=[];;x.register_post_accumulate_grad_hook(lambda p:l.append(p.grad.clone()));;x.sum().backward();;(x*x).sum().backward();;l
x=t([1,2,3],grad=True);;l=[];;h=x.register_post_accumulate_grad_hook(lambda p:l.append(p is x));;x.sum().backward();;h.remove();;x.sum().backward();;l
x=t([1,2,3],grad=True);;(x*2).register_post_accumulate_grad_hook(lambda p:0)
x=t([1,2,3],grad=True);;f=(x*2).sum().grad_fn.next_functions[0][0].next_functions[0][0];;[f.name(),f.variable is x]
x=t(ar(3,3),grad=True);;[type(y.grad_fn).__name__ for y in (x+1,x*x,x[0],x.view(9),F.relu(x),x.exp().sum().sqrt())]
x=t([1+2j],'complex64');;x.requires_grad_();;(x*x).sum().backward()
x=t([1,2,3,4],grad=True);;v=x.view(2,2)[0];;[v._is_view(),v._base is x,x._is_view()]
a=t(ar(3,4),grad=True);;b=a.clone();;b.transpose_(0,1);;b.mul_(2);;[b,G(W(b),a)]
a=t(ar(3,4),grad=True);;b=a.clone();;b.unsqueeze_(0).squeeze_(0).t_();;b[1:].exp_();;[b,G(W(b),a)]
a=t(ar(3,4),grad=True);;b=a.clone();;v=b[1:];;v.t_();;v.mul_(3);;[b,v,G(W(b)+W(v),a)]
a=t(ar(3,4),grad=True);;a.t_()
a=t(ar(1,4));;a.expand(3,4).fill_(7);;a
a=t(ar(1,4));;b=a.expand(3,4);;[b.zero_(),a]
x=t([0,0,0],grad=True);;G(x.median(),x)
x=t([1,2,2,1],grad=True);;[G(x.median(),x),G(x.nanmedian(),x)]
x=t([1,nan,nan],grad=True);;[G(x.median(),x),G(x.nanmedian(),x)]
x=t([-1,1,0,3,6,.5],grad=True);;[G(f(x).sum(),x) for f in (F.hardtanh,F.relu6,L.nn.Hardtanh(-1,3))]
x=t([-1,1,0,3,6,.5],grad=True);;y=x*1;;F.relu6(y,inplace=True);;[y,G(y.sum(),x)]
[F.hardtanh(t([-3,0,9],'int64')),F.relu6(t([0,200],'uint8'))]
x=t(ar(5,4),grad=True);;y=(x.T*1).flip(0);;y.mul_(2);;[y,G(W(y),x)]
x=t(ar(5,4),grad=True);;y=(x*1).rot90();;y.add_(y);;G(W(y),x)
x=t(ar(2,3),grad=True);;y=x.repeat(2,1);;[y._is_view(),y.mul_(y),x.repeat(2,1).detach_()]
L.tensor([-1,-255,7],dtype=L.uint8,device=D)
L.tensor([-300],dtype=L.uint8,device=D)
L.tensor([nan],dtype=L.int64,device=D)
L.tensor([1j],dtype=L.float32,device=D)
L.tensor(bytearray(b'ab'),device=D)
L.tensor([t([1.5]),t([[2]])],device=D)
L.tensor([t([1.5,2])],device=D)
L.asarray([1],copy=False)
[L.arange(0,1,.3,dtype=L.float64,device=D),L.arange(5,1,-2,device=D)]
L.arange(0,1,.3,dtype=L.int64,device=D)
L.arange(1j)
[L.linspace(0,10,5,dtype=L.int64,device=D),L.linspace(-10,10,7,dtype=L.int32,device=D),L.linspace(0,255,6,dtype=L.uint8,device=D)]
[L.logspace(0,3,4,dtype=L.int64,device=D),L.logspace(0,3,4,base=2,device=D),L.logspace(-2,2,5,dtype=L.float64,device=D)]
x=t(ar(2,3));;[L.full_like(x.T,5),L.zeros_like(x.T),L.ones_like(x.T,dtype=L.int8),L.empty_like(x.T).stride(),L.rand_like(x.T).stride()]
x=t(ar(2,3,4)).permute(2,0,1);;[L.zeros_like(x),L.zeros_like(x[::2]),L.zeros_like(x,memory_format=L.contiguous_format)]
x=t(ar(1,3)).expand(2,3);;L.ones_like(x)
x=t(ar(1,2,3,4));;[L.zeros_like(x,memory_format=L.channels_last),L.empty(2,3,4,5,memory_format=L.channels_last).stride()]
L.empty(2,3,memory_format=L.channels_last)
L.empty_strided((2,3),(1,),device=D)
x=t(ar(2,3)).T;;y=pickle.loads(pickle.dumps(x.cpu()));;[y,copy.deepcopy(x)]
x=t(ar(2,3));;x.is_nonzero()
x=t(ar(2,3));;f"{x:.2f}"
x=t(ar(2,3));;[f"{x}"==str(x),f"{x[0,1]:.2f}"]
x=t([1+2j],'complex64');;[complex(x),complex(t(3))]
x=t([1+2j],'complex64');;float(x)
x=t([1+2j],'complex64');;int(x)
list(reversed(t(ar(3,2))))
x=t([1,5,7],'int64');;[x.masked_fill(x>4,2.7),x.bool().masked_fill(x>4,.5),x.masked_fill(x>4,L.tensor(2.7,device=D))]
x=t([1,5,7],'int64');;x.masked_fill(x>4,inf)
x=t(3);;[x.index_fill(0,t([0],'int64'),1.5),x.index_copy(0,t([0],'int64'),t([9]))]
x=t(3);;x.index_fill_(0,t([0],'int64'),1.5);;x
x=t(ar(3,4));;i=t([[0,1,2],[2,0,0]],'int64');;s=t(-ar(2,3)-1);;[x.scatter(0,i,s,reduce='add'),x.scatter(0,i,s,reduce='multiply'),x.scatter(0,i,2,reduce='add'),x.scatter(0,i,2,reduce='multiply')]
x=t(ar(3,4));;i=t([[0,1,2],[2,0,0]],'int64');;x.scatter_(0,i,3,reduce='multiply');;x
x=t(ar(3,4));;x.scatter_(0,t([[0,1]],'int64'),3,reduce='max')
x=t(ar(3,4));;[x.scatter(0,t([[0,1]],'int32'),7),x.scatter_add(0,t([[0,1]],'int32'),t([[5,5]]))]
[t(3).nonzero(as_tuple=True),t(0).nonzero(as_tuple=True)]
x=t(ar(4,5,6));;[x[[np.array([0,1])]],x[[np.array([0,1]),np.array([2,3])]],x[np.array([0,1])].shape]
x=t(ar(6));;[x[::2**62],x[2::2**61]]
x=t(ar(8,6))[1::2];;[x.view(L.int16),x.view(L.float64),x.view(L.uint8).stride()]
x=t(ar(8,6))[1::2];;x.view(L.int32).fill_(0);;x
x=t(ar(5,4)).T;;x.view(L.int16)
x=t(ar(4,5));;x.view(L.float64)
t(ar(4,10))[:,::2].ravel()
x=t(ar(4,5));;[x.tensor_split((3,1)),x.tensor_split((-1,),1),x.tensor_split(3)]
x=t(ar(4,5),grad=True);;p=x.tensor_split((3,1));;G(sum(W(q) for q in p),x)
[t(3).movedim(0,0),t(3).moveaxis(0,-1)]
x=t(ar(2,3));;x.movedim((0,1),(0,0))
x=t(ar(1,4,2,2)).to(memory_format=L.channels_last);;[L.cat([x,x],1),L.cat([x,x.contiguous()],1).stride()]
[t(ar(3,4)).sum(0,dtype=L.int32),t(ar(3,4)).prod(1,dtype=L.int16),t(ar(3,4)).sum(dtype=L.uint8)]
x=t(ar(3,4));;[x.sum(axis=1),x.mean(axis=0,keepdims=True),x.argmax(axis=1),L.cat([x,x],axis=1),L.max(x,axis=1,keepdims=True),L.softmax(x,axis=1)]
x=t(ar(3,4));;[L.std_mean(x,unbiased=False),L.var_mean(x,1,unbiased=True,keepdim=True),L.var_mean(x,(0,1),False)]
x=t([True,False],'bool');;[x.isclose(x),L.allclose(x,x)]
[L.bucketize(2.5,t([1,2,2,3,5],'int64')),L.searchsorted(t([1,2,2,3,5],'int64'),2.5),L.bucketize(2,t([1,2,2,3,5]))]
[L.inner(t(2),t(ar(3))),L.inner(t(ar(2,3)),t(ar(4,3))),L.inner(t(ar(2,3)),t(ar(5,1,2,3))),L.inner(t(ar(3)),t(ar(3)))]
L.inner(t(ar(2,3)),t(ar(3,2)))
[L.baddbmm(t([nan]),t(ar(2,2,3)),t(ar(2,3,2)),beta=0),L.addbmm(t([nan]),t(ar(2,2,3)),t(ar(2,3,2)),beta=0),L.addmv(t([nan]),t(ar(2,3)),t(ar(3)),beta=0),L.addr(t([nan]),t(ar(2)),t(ar(3)),beta=0)]
L.addmv(t(ar(2,2)),t(ar(2,3)),t(ar(3)))
[t([.05,1.454,-2.55],'bfloat16').round(decimals=1),t([14.53,-27.2],'bfloat16').round(decimals=-1)]
[L.ldexp(t([3,-4],'float16'),t([2,3],'int64')),L.ldexp(t([1e-30]),t([200],'int64')),L.ldexp(t([3],'int64'),t([2],'int64')),L.ldexp(t([3],'float64'),t([2.5]))]
[t(ar(2,3)).rot90(k) for k in (0,1,2,3)]
t(ar(2,3)).rot90(1,(0,5))
x=t(ar(3),grad=True);;y=x*x;;L.autograd.grad(y,x,L.eye(3).to(D),is_grads_batched=True)
x=t(ar(3),grad=True);;y=x*2;;L.autograd.grad(y,[x,t(ar(2),grad=True)],t(ar(4,3)),is_grads_batched=True,materialize_grads=True)
x=t([[3,0],[0,-4]]);;[x.norm('nuc'),L.norm(x,'nuc',(0,1),True)]
[t(ar(3,0,5)).unique(dim=1).shape,t(ar(0,4)).unique(dim=0,return_counts=True)]
t(ar(3)).bernoulli_(t([0,1,1]))
x=t(ar(3));;x.cpu().map_(x.cpu(),lambda a,b:a+2*b)
x=t(ar(3));;x.cpu().apply_(lambda v:v*v)
"""
ROWS = [row for row in ROWS.splitlines() if row]


def _shown(L: Any, value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_shown(L, v) for v in value]
    if isinstance(value, complex):
        return [value.real, value.imag]
    if not isinstance(value, L.Tensor):
        return value
    kind = str(value.dtype).rsplit(".", maxsplit=1)[-1]
    shown = [kind, list(value.shape), list(value.stride()), value.requires_grad]
    value = value.detach()
    if value.is_complex():
        value = L.view_as_real(value)
    numbers = value.cpu().double() if value.is_floating_point() else value.cpu()
    return [*shown, numbers.tolist()]


def evaluate(row: str, L: Any, device: str = "cpu") -> Any:
    """What the row gives, or its error."""

    def t(data: Any, dtype: str = "float32", grad: bool = False) -> Any:
        x = L.tensor(np.array(data)).to(getattr(L, dtype)).to(device)
        return x.requires_grad_() if grad else x

    def weighted(x: Any) -> Any:
        weights = np.cos(np.arange(x.numel())).reshape(tuple(x.shape))
        return (x * t(weights)).sum()

    scope = {
        "L": L,
        "F": L.nn.functional,
        "D": device,
        "np": np,
        "t": t,
        "W": weighted,
        "G": lambda y, *xs: L.autograd.grad(y, xs),
        "ar": lambda *shape: np.arange(int(np.prod(shape))).reshape(shape),
        "nan": float("nan"),
        "inf": float("inf"),
        "copy": copy,
        "pickle": pickle,
    }
    *statements, last = row.split(";;")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for statement in statements:
                exec(statement, scope)
            return _shown(L, eval(last, scope))
        except Exception as error:
            return {"error": type(error).__name__, "text": str(error).split("\n")[0]}


def _case(row: str) -> Any:
    return lambda L: evaluate(row, L)


for _row in ROWS:
    globals()[f"case_{_row}"] = _case(_row)
