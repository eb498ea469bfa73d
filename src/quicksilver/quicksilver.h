// Everything a C++ program needs: tensors, verbs, autograd, modules and optimizers.
//
//   qs::Tensor x = qs::ones({5}, qs::mps) * 2;      // recorded
//   float first = x[0].item<float>();               // runs what is needed
//   if (!qs::mps.is_available()) std::puts(qs::mps.why_unavailable().c_str());
#pragma once
#include "quicksilver/autograd/autograd.h"
#include "quicksilver/autograd/verbs.h"
#include "quicksilver/core/device.h"
#include "quicksilver/core/exceptions.h"
#include "quicksilver/core/version.h"
#include "quicksilver/io/files.h"
#include "quicksilver/nn/layers.h"
#include "quicksilver/nn/layers_2d.h"
#include "quicksilver/nn/module.h"
#include "quicksilver/optim/adam.h"
#include "quicksilver/optim/sgd.h"
#include "quicksilver/tensor/record.h"
#include "quicksilver/tensor/tensor.h"
